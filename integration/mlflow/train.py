"""Trains and logs two models of the iris data, and prints where MLflow has them: one that has seen all three flowers,
and one that has seen two of them and so never answers with the third label."""

import sys

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

work = sys.argv[1]
flowers, labels = load_iris(return_X_y=True)
mlflow.create_experiment("iris", artifact_location=f"file://{work}/artifacts")
mlflow.set_experiment("iris")
for known in (labels >= 0, labels < 2):
    with mlflow.start_run():
        model = LogisticRegression(max_iter=1000).fit(flowers[known], labels[known])
        logged = mlflow.sklearn.log_model(model, name="model", input_example=flowers[:1])
    print(logged.model_uri, flush=True)
