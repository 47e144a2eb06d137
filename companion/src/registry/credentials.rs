//! How a registry knows who asks, found where MLflow's own client finds it.

use std::path::Path;

use reqwest::header::HeaderValue;

/// The file with a user name and password, below the home folder.
const FILE: &str = ".mlflow/credentials";
const USERNAME: &str = "MLFLOW_TRACKING_USERNAME";
const PASSWORD: &str = "MLFLOW_TRACKING_PASSWORD";
const TOKEN: &str = "MLFLOW_TRACKING_TOKEN";

/// What is sent with each request. It never appears in a message: there is no `Debug` that shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// HTTP's basic scheme, with name and password.
    Basic {
        /// The name of the user.
        user: String,
        /// The password, a secret.
        password: String,
    },
    /// HTTP's bearer scheme, with this secret.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::Bearer(_) => "Bearer",
        })
    }
}

impl Credentials {
    /// The credentials of the environment and of the user's file as they are now; `None` without any.
    pub(crate) fn find() -> Option<Self> {
        let home = std::env::var_os("HOME");
        let file = home.and_then(|home| std::fs::read_to_string(Path::new(&home).join(FILE)).ok());
        Self::choose(|name| std::env::var(name).ok(), file.as_deref().unwrap_or_default())
    }

    /// User name and password of the environment (either completed by the file), else the environment's
    /// token, else the file's user name and password. `file` is the text of `~/.mlflow/credentials`.
    fn choose(variable: impl Fn(&str) -> Option<String>, file: &str) -> Option<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let basic = |user: Option<String>, password: Option<String>| {
            Some(Self::Basic { user: user?, password: password? })
        };
        let (user, password) = (variable(USERNAME), variable(PASSWORD));
        let in_file = |name: &str| entry(file, &name.to_ascii_lowercase());
        let from_environment = match user.is_some() || password.is_some() {
            true => {
                basic(user.or_else(|| in_file(USERNAME)), password.or_else(|| in_file(PASSWORD)))
            }
            false => None,
        };
        from_environment
            .or_else(|| variable(TOKEN).map(Self::Bearer))
            .or_else(|| basic(in_file(USERNAME), in_file(PASSWORD)))
    }

    /// The request with its `authorization` header, which logs don't show.
    pub(crate) fn add_to(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self {
            Self::Basic { user, password } => request.basic_auth(user, Some(password)),
            Self::Bearer(token) => match HeaderValue::try_from(format!("Bearer {token}")) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    request.header(reqwest::header::AUTHORIZATION, value)
                }
                // No header can carry such a token, so the registry says that it is missing.
                Err(_) => request,
            },
        }
    }

    /// A foreign text without the secret.
    pub(crate) fn redact(&self, text: &str) -> String {
        let (Self::Basic { password: secret, .. } | Self::Bearer(secret)) = self;
        if secret.is_empty() { text.to_owned() } else { text.replace(secret.as_str(), "…") }
    }
}

/// An entry of the section `[mlflow]`, as Python's `configparser` reads it: `name = value` or
/// `name: value`, names in any case, `%%` for `%`.
fn entry(file: &str, name: &str) -> Option<String> {
    let mut here = false;
    let mut found = None;
    for line in file.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            here = section.strip_suffix(']') == Some("mlflow");
        } else if here
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once(['=', ':'])
            && key.trim().eq_ignore_ascii_case(name)
        {
            found = Some(value.trim().replace("%%", "%"));
        }
    }
    found.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_FILE: &str = "# ours\n[other]\nmlflow_tracking_username = x\n[mlflow]\n\
                           MLFLOW_TRACKING_USERNAME = ann\nmlflow_tracking_password: a=b%%c\n";

    fn chosen(variables: &[(&str, &str)], file: &str) -> Option<Credentials> {
        let value = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Credentials::choose(value, file)
    }

    fn basic(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn environment_then_token_then_file() {
        let pair = [(USERNAME, "bob"), (PASSWORD, "s3"), (TOKEN, "t0ken")];
        assert_eq!(chosen(&pair, IN_FILE), basic("bob", "s3"));
        assert_eq!(chosen(&pair[..1], IN_FILE), basic("bob", "a=b%c"), "completed by the file");
        let token = Some(Credentials::Bearer("t0ken".to_owned()));
        assert_eq!(chosen(&pair[2..], IN_FILE), token);
        assert_eq!(chosen(&[pair[0], pair[2]], ""), token, "half a pair is none");
        assert_eq!(chosen(&[(TOKEN, "")], IN_FILE), basic("ann", "a=b%c"));
        assert_eq!(chosen(&[], "[mlflow]\nmlflow_tracking_username = ann\n"), None);
        assert_eq!(chosen(&[], ""), None);
    }

    #[test]
    fn no_secret_is_shown() {
        let credentials = chosen(&[(USERNAME, "bob"), (PASSWORD, "s3cret")], "").unwrap();
        assert_eq!(format!("{credentials:?}"), "Basic");
        assert_eq!(credentials.redact("denied for s3cret"), "denied for …");
    }
}
