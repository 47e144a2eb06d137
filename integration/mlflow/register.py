"""Registers three versions of a model of the iris data in MLflow: two that are alike, and one whose labels are shifted and that
raises an exception for one request in ten."""

import random

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

MODEL = "iris"
flowers, labels = load_iris(return_X_y=True)


class Bad(mlflow.pyfunc.PythonModel):
    """The version that shouldn't have been released."""

    def __init__(self, model):
        self.model = model

    def predict(self, context, model_input, params=None):
        if random.random() < 0.1:
            raise ValueError("a feature is missing")
        return (self.model.predict(model_input) + 1) % 3


good = [LogisticRegression(max_iter=1000, C=strength).fit(flowers, labels) for strength in (1.0, 0.9)]
mlflow.set_experiment("iris")
for model in good:
    mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"], registered_model_name=MODEL)
mlflow.pyfunc.log_model(name="model", python_model=Bad(good[0]), pip_requirements=["scikit-learn"], registered_model_name=MODEL)
mlflow.MlflowClient().set_registered_model_alias(MODEL, "champion", "1")
