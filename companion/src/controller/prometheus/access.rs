//! What a query is sent with: the file's headers and credentials, read anew for each query, so that a file that
//! is replaced takes effect with the next.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use canary_judge::spec::{CredentialFiles, PrometheusAccess};
use canary_model::redact::HIDDEN;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderValue};

/// The largest file of credentials, in bytes.
const LARGEST: u64 = 64 << 10;
/// Shorter values of headers aren't taken out of foreign texts: they aren't secrets, and words would be cut.
const SHORTEST: usize = 6;

/// Headers and credentials of one query. It has no `Debug`, because it holds secrets.
pub(super) struct QueryAccess {
    headers: Vec<(String, HeaderValue)>,
    basic: Option<(String, String)>,
    hidden_texts: Vec<String>,
}

impl QueryAccess {
    /// Reads the files; relative paths are in `folder`, the rollout file's.
    ///
    /// # Errors
    /// Which file can't be used, and why. No text of a file is in it.
    pub(super) async fn from_files(
        access: &PrometheusAccess,
        folder: &Path,
    ) -> Result<Self, String> {
        let (access, folder) = (access.clone(), folder.to_owned());
        let read = move || Self::read(&access, &folder);
        tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
    }

    fn read(access: &PrometheusAccess, folder: &Path) -> Result<Self, String> {
        let mut gathered = Self { headers: Vec::new(), basic: None, hidden_texts: Vec::new() };
        for (name, value) in &access.headers {
            gathered.header(name, value.expose()).map_err(|_| {
                format!("the value of the header {name} holds a character that no header can carry")
            })?;
            // The words, too: of `Bearer abc…`, an answer may repeat the second alone.
            let words = value.expose().split_whitespace().chain([value.expose()]);
            let long = words.filter(|text| text.len() >= SHORTEST && *text != "Bearer");
            gathered.hidden_texts.extend(long.map(str::to_owned));
        }
        match &access.credentials {
            None => {}
            Some(CredentialFiles::Token(path)) => {
                let token = text("tokenFile", path, folder)?;
                gathered.header(AUTHORIZATION.as_str(), &format!("Bearer {token}")).map_err(
                    |_| format!("tokenFile {path} holds a character that no header can carry"),
                )?;
                gathered.hidden_texts.push(token);
            }
            Some(CredentialFiles::Basic { username, password }) => {
                let user = text("usernameFile", username, folder)?;
                let password = text("passwordFile", password, folder)?;
                gathered.hidden_texts.push(STANDARD.encode(format!("{user}:{password}")));
                gathered.hidden_texts.push(password.clone());
                gathered.basic = Some((user, password));
            }
        }
        // A secret that contains another is taken out first.
        gathered.hidden_texts.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(gathered)
    }

    fn header(
        &mut self,
        name: &str,
        value: &str,
    ) -> Result<(), reqwest::header::InvalidHeaderValue> {
        let mut value = HeaderValue::try_from(value)?;
        value.set_sensitive(true);
        self.headers.push((name.to_owned(), value));
        Ok(())
    }

    /// The query with everything that it is sent with.
    pub(super) fn add_to(&self, mut query: RequestBuilder) -> RequestBuilder {
        for (name, value) in &self.headers {
            query = query.header(name, value.clone());
        }
        match &self.basic {
            Some((user, password)) => query.basic_auth(user, Some(password)),
            None => query,
        }
    }

    /// A foreign text without the secrets, should the other side repeat them.
    pub(super) fn redact(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), HIDDEN);
        self.hidden_texts.iter().fold(text.to_owned(), hide)
    }
}

/// A file's text without blanks around it.
fn text(field: &str, path: &str, folder: &Path) -> Result<String, String> {
    let file: PathBuf = folder.join(path);
    let fault = |why: &dyn Display| format!("{field} {}: {why}", file.display());
    let about = std::fs::metadata(&file).map_err(|error| fault(&error))?;
    if !about.is_file() {
        return Err(fault(&"not a regular file"));
    }
    if about.len() > LARGEST {
        return Err(fault(&format!("{} bytes; at most {LARGEST} are read", about.len())));
    }
    let bytes = std::fs::read(&file).map_err(|error| fault(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| fault(&"not UTF-8"))?;
    let text = text.trim();
    if text.is_empty() { Err(fault(&"the file is empty")) } else { Ok(text.to_owned()) }
}
