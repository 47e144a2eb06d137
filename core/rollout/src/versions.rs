//! Which versions a release is about: where each label comes from, decided in one place.

use canary_judge::counts::Pair;
use canary_model::runtime::VersionLabel;

/// Every source that can name the versions of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionSources {
    /// What the command line, the API or the registry says.
    pub given: Pair<Option<String>>,
    /// The version that this controller released last: it is stable now.
    pub released: Option<String>,
    /// What the rollout file says.
    pub file: Pair<Option<String>>,
    /// The versions in force on the Envoys, by their configuration and runtime.
    pub shown: Pair<Option<String>>,
}

/// The versions of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseVersions {
    /// The versions that somebody named: these become labels in Envoy's runtime.
    pub named: Pair<Option<String>>,
    /// The versions of both places when the rollout runs; `None` where nothing says which.
    pub versions: Pair<Option<String>>,
}

impl ReleaseVersions {
    /// The version that both roles would have; such a release must be refused, because answers couldn't be
    /// attributed.
    pub fn same(&self) -> Option<&str> {
        let Pair { stable, canary } = &self.versions;
        canary.as_deref().filter(|canary| stable.as_deref() == Some(*canary))
    }
}

impl VersionSources {
    /// The canary's version is the given one, else the file's, else the one in force. Stable's is the given
    /// one, else what was released last, else the file's, else the one in force.
    pub fn choose(self) -> ReleaseVersions {
        let Self { given, released, file, shown } = self;
        let named = Pair {
            stable: given.stable.or(released).or(file.stable),
            canary: given.canary.or(file.canary),
        };
        let versions = Pair {
            stable: named.stable.clone().or(shown.stable),
            canary: named.canary.clone().or(shown.canary),
        };
        ReleaseVersions { named, versions }
    }
}

/// The version in force of a role that is configured with one and has this label in the runtime, if any. A
/// label for another configuration is older than the configuration, and ignored.
pub fn in_force(configured: &str, label: Option<&str>) -> String {
    let label = label.and_then(|text| VersionLabel::parse(text).ok());
    by_label(configured, label.as_ref()).to_owned()
}

/// The same where the label has been read.
pub fn by_label<'v>(configured: &'v str, label: Option<&'v VersionLabel>) -> &'v str {
    label.and_then(|label| label.for_configured(configured)).unwrap_or(configured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(stable: &str, canary: &str) -> Pair<Option<String>> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Pair { stable: text(stable), canary: text(canary) }
    }

    #[test]
    fn each_source_comes_before_the_next() {
        let all = VersionSources {
            given: pair("1", "5"),
            released: Some("2".to_owned()),
            file: pair("3", "6"),
            shown: pair("4", "7"),
        };
        let chosen = all.clone().choose();
        assert_eq!((chosen.named, chosen.versions), (pair("1", "5"), pair("1", "5")));
        let ungiven = VersionSources { given: pair("", ""), ..all };
        assert_eq!(ungiven.clone().choose().versions, pair("2", "6"));
        let first = VersionSources { released: None, ..ungiven };
        assert_eq!(first.clone().choose().versions, pair("3", "6"));
        let bare = VersionSources { file: pair("", ""), ..first }.choose();
        assert_eq!((bare.named, bare.versions), (pair("", ""), pair("4", "7")));
    }

    #[test]
    fn one_version_for_both_is_found_wherever_it_comes_from() {
        let file =
            VersionSources { file: pair("", "4"), shown: pair("4", "7"), ..Default::default() };
        assert_eq!(file.choose().same(), Some("4"));
        let unknown = VersionSources { file: pair("", "4"), ..Default::default() };
        assert_eq!(unknown.choose().same(), None);
        assert_eq!(VersionSources::default().choose().same(), None);
    }

    #[test]
    fn a_label_holds_for_its_own_configuration_alone() {
        assert_eq!(in_force("3.1", Some("3.1=3.2")), "3.2");
        assert_eq!(in_force("3.3", Some("3.1=3.2")), "3.3");
        assert_eq!(in_force("3.1", None), "3.1");
        assert_eq!(in_force("3.1", Some("what")), "3.1");
    }
}
