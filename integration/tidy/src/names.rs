//! What things are called: one meaning for each type name, and the field's standard terms.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::source::{RustFile, attributes, is_test_only};

/// Names from the project's early vocabulary, and the standard term for each. They must not come back as the name
/// of a type, module, function or field.
pub const RETIRED: &[(&str, &str)] = &[
    ("verbs", "commands"),
    ("Seen", "Inputs"),
    ("Turn", "StepContext or Generation"),
    ("hear", "handle_responses"),
    ("obey", "handle_command"),
    ("look", "observe_fleet or scrape"),
    ("aim", "set_target"),
    ("settle", "update_phase"),
    ("Ending", "TerminationReason"),
    ("Pausing", "PauseReason"),
    ("Waits", "Blockers"),
    ("doubts", "warnings"),
    ("Remark", "a warning"),
    ("Standing", "TestStatus"),
    ("Allowance", "AlphaShare"),
    ("suspect", "canary or treatment"),
    ("reference", "stable or control"),
    ("turned_round", "swapped"),
    ("certificate", "non_inferiority"),
    ("Certificate", "NonInferiority"),
    ("Lack", "InsufficientData"),
    ("Missing", "InsufficientData"),
    ("Moment", "TickContext"),
    ("keyed", "sticky"),
    ("Live", "RolloutState"),
    ("Watch", "GuardHandle"),
    ("Memory", "ClientTracker"),
    ("Work", "Configured"),
    ("Taken", "MatchedRequest"),
    ("forced", "overridden"),
    ("wish", "override"),
    ("dear", "expensive"),
    ("useless_until", "probe_backoff_until"),
    ("secrets", "token_headers"),
    ("person", "operator"),
    ("takes", "matches"),
    ("Problem", "ConfigError"),
    ("Problems", "ConfigErrors"),
    ("NotEnvoy", "UnexpectedResponse"),
    ("amiss", "mismatch"),
    ("gather", "scrape"),
    ("Look", "Scrape"),
    ("Ledger", "CounterBaseline"),
    ("LeaseBook", "LeaseState"),
    ("GateBook", "GateState"),
    ("Lines", "Channels"),
    ("Order", "CommandRequest"),
    ("farewell", "drain or grace period"),
    ("last_words", "drain or grace period"),
    ("Teller", "Reporter"),
    ("Audience", "ProgressSink"),
    ("words", "messages"),
    ("mood", "severity"),
    ("Planter", "TreeVisitor"),
    ("unfold", "flatten"),
    ("Place", "Destination"),
    ("Asked", "Options"),
    ("Faulty", "RenderError"),
    ("Where", "ControllerLocation"),
    ("dice", "a random draw"),
    ("roll", "a random draw"),
    ("stamp", "version header"),
    ("of", "new, from_… or a getter's plain name"),
    ("odds", "evidence"),
];

/// A definition and where it is.
struct Definition {
    kind: &'static str,
    name: String,
    place: String,
}

/// Type names that are defined more than once outside tests.
pub fn duplicate_types(sources: &[RustFile]) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for definition in definitions(sources).filter(|definition| definition.kind == "type") {
        places.entry(definition.name).or_default().push(definition.place);
    }
    places.retain(|_, places| places.len() > 1);
    places
        .iter()
        .map(|(name, places)| format!("{name} is defined in {}", places.join(" and ")))
        .collect()
}

/// Definitions outside tests whose name is retired.
pub fn retired_names(sources: &[RustFile]) -> Vec<String> {
    let finding = |definition: Definition| {
        let (_, term) = RETIRED.iter().find(|(name, _)| definition.name == *name)?;
        let Definition { kind, name, place } = definition;
        Some(format!("{place}: the {kind} `{name}`; the standard term is {term}"))
    };
    definitions(sources).filter_map(finding).collect()
}

fn definitions(sources: &[RustFile]) -> impl Iterator<Item = Definition> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        Definitions { path: &source.path, found: &mut found }.visit_file(&source.syntax);
    }
    found.into_iter()
}

struct Definitions<'a> {
    path: &'a str,
    found: &'a mut Vec<Definition>,
}

impl Definitions<'_> {
    fn add(&mut self, kind: &'static str, name: &syn::Ident) {
        let place = format!("{}:{}", self.path, name.span().start().line);
        self.found.push(Definition { kind, name: name.to_string(), place });
    }
}

impl<'ast> Visit<'ast> for Definitions<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            return;
        }
        match item {
            syn::Item::Struct(item) => self.add("type", &item.ident),
            syn::Item::Enum(item) => self.add("type", &item.ident),
            syn::Item::Trait(item) => self.add("type", &item.ident),
            syn::Item::Type(item) => self.add("type", &item.ident),
            syn::Item::Mod(item) => self.add("module", &item.ident),
            syn::Item::Fn(item) => self.add("function", &item.sig.ident),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // A trait's methods are named by the trait.
        if item.trait_.is_none() {
            for function in &item.items {
                if let syn::ImplItem::Fn(function) = function {
                    self.add("function", &function.sig.ident);
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(name) = &field.ident {
            self.add("field", name);
        }
        visit::visit_field(self, field);
    }
}
