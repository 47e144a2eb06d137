//! Putting a version into a place: a command, or a POST to a URL. Both end by themselves or at the timeout,
//! and neither keeps the controller from observing.
//!
//! A command runs without a shell, in a process group of its own. It has ended when its own process exits,
//! whoever holds its pipes; what it leaves running after an exit with 0 is left alone.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use canary_model::duration;
use canary_model::role::Role;
use canary_rollout::inputs::DeployAnswer;
use canary_rollout::spec::{Deploy, DeployHook};
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::http::{post_json, proxy};
use crate::text::shortened;

/// How many bytes of an output's end are kept.
const TAIL: usize = 8 << 10;
/// How many lines of a failed command's stderr, or characters, are the reason.
const REASON_LINES: usize = 5;
const REASON: usize = 600;
/// How long the end of an output is waited for after the command has exited: what it wrote is in the pipe.
const DRAIN: Duration = Duration::from_millis(200);

/// Where in a registry a version comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrySource {
    /// The version as MLflow's clients name it: `models:/<model>/<version>`.
    pub source: String,
    /// The registry's download URI.
    pub artifact: String,
}

/// One call of a rollout file's deploy hook.
#[derive(Clone, Debug)]
pub struct DeployRequest {
    /// The name of the rollout.
    pub rollout: String,
    /// Whose place gets the version.
    pub role: Role,
    /// The version that should serve there.
    pub version: String,
    /// Which call it is; the answer carries it.
    pub attempt: u32,
    /// Where the version comes from, if a registry knows.
    pub source: Option<RegistrySource>,
    /// The folder of the rollout file, in which commands run.
    pub folder: PathBuf,
}

/// What a URL is sent.
#[derive(Serialize)]
struct DeployPayload<'a> {
    rollout: &'a str,
    role: &'static str,
    version: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    source: Option<&'a RegistrySource>,
}

/// Deploys, however long that takes within the timeout.
pub(super) async fn deploy(
    http: &Client,
    deploy: &Deploy,
    request: &DeployRequest,
) -> DeployAnswer {
    let result = match &deploy.hook {
        Some(DeployHook::Command(line)) => command(line, deploy.timeout, request).await,
        Some(DeployHook::Url(url)) => post(http, url, deploy.timeout, request).await,
        None => Ok(()),
    };
    let failed = result.err().map(|why| shortened(&proxy::redact(&why), REASON));
    DeployAnswer { attempt: request.attempt, failed }
}

async fn command(
    line: &[String],
    timeout: Duration,
    request: &DeployRequest,
) -> Result<(), String> {
    let Some((program, arguments)) = line.split_first() else { return Ok(()) };
    let mut command = Command::new(program_path(program, &request.folder));
    command.args(arguments).current_dir(&request.folder).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("CANARY_ROLLOUT", &request.rollout);
    command.env("CANARY_ROLE", request.role.as_str()).env("CANARY_VERSION", &request.version);
    match &request.source {
        Some(RegistrySource { source, artifact }) => {
            command.env("CANARY_SOURCE", source).env("CANARY_ARTIFACT", artifact);
        }
        None => {
            command.env_remove("CANARY_SOURCE").env_remove("CANARY_ARTIFACT");
        }
    }
    let failed = |error: std::io::Error| {
        format!("{program} can't be run in {}: {error}", request.folder.display())
    };
    let mut child = command.spawn().map_err(failed)?;
    let mut group = ProcessGroup::new(child.id());
    let _stdout = child.stdout.take().map(OutputTail::follow);
    let stderr = child.stderr.take().map(OutputTail::follow);
    let status = match tokio::time::timeout(timeout, child.wait()).await {
        Ok(status) => {
            group.leave_alone();
            status.map_err(failed)?
        }
        Err(_) => {
            group.kill();
            let _ = child.wait().await;
            let said = after(stderr).await;
            let limit = duration::format(timeout);
            return Err(format!("{program} was killed because it took longer than {limit}{said}"));
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = after(stderr).await;
    Err(format!("{program} {}{said}", ended(status)))
}

/// A path beginning in the file's folder, as a shell in that folder would find it; a bare name is looked up
/// in `PATH`.
fn program_path(program: &str, folder: &Path) -> PathBuf {
    if program.contains('/') { folder.join(program) } else { PathBuf::from(program) }
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with {code}"),
        // "signal: 9 (SIGKILL)"
        None => format!("was ended by a {status}"),
    }
}

/// The last lines of an output as the end of a message; nothing without any.
async fn after(output: Option<OutputTail>) -> String {
    let Some(output) = output else { return String::new() };
    let text = output.text().await;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(REASON_LINES)..).unwrap_or_default();
    if last.is_empty() { String::new() } else { format!(": {}", last.join("; ")) }
}

/// A command's process group. If the command is no longer waited for, because it was canceled or the
/// controller ends, the group is killed.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn new(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Its leader has exited by itself: what it left running isn't ours.
    const fn leave_alone(&mut self) {
        self.0 = None;
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may have ended by itself in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of an output. The rest of the pipe is read and dropped for as long as anyone writes to it, so that
/// what a command leaves running isn't stopped by a full or closed pipe.
struct OutputTail {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl OutputTail {
    fn follow(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let tail = Arc::clone(&bytes);
        let reader = tokio::spawn(async move {
            let mut chunk = vec![0; TAIL];
            while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
                let (Ok(mut tail), Some(read)) = (tail.lock(), chunk.get(..read)) else { return };
                tail.extend_from_slice(read);
                let excess = tail.len().saturating_sub(TAIL);
                tail.drain(..excess);
            }
        });
        Self { bytes, reader }
    }

    async fn text(mut self) -> String {
        // A process that the command left running may hold the pipe open.
        let _ = tokio::time::timeout(DRAIN, &mut self.reader).await;
        let bytes = self.bytes.lock().map(|bytes| bytes.clone()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

async fn post(
    http: &Client,
    url: &str,
    timeout: Duration,
    request: &DeployRequest,
) -> Result<(), String> {
    let payload = DeployPayload {
        rollout: &request.rollout,
        role: request.role.as_str(),
        version: &request.version,
        source: request.source.as_ref(),
    };
    let through = proxy::through(url);
    let sent = post_json(http, url, timeout, &payload).await;
    let mut answer = sent.map_err(|why| format!("{why}{through}"))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let mut text = Vec::new();
    while text.len() < TAIL
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let text = text.trim();
    Err(if text.is_empty() {
        format!("the hook answered {status}{through}")
    } else {
        format!("{status}{through}: {text}")
    })
}

#[cfg(test)]
mod tests;
