//! The cases that are measured: which variants, under which load, and what is computed from them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::variant::{CLIENT_HEADER, NATIVE, OverheadVariant, rollout, rollout_with};
use super::workload::{BARE, BIG, GRPC, HTTP2, REALISTIC, SMALL, STREAM, Workload};
use crate::artifacts;
use crate::bench::BenchTarget::{self, AtMost};

/// Variants that are measured in turn, in one run.
pub(super) struct OverheadCase {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    pub(super) variants: Vec<(OverheadVariant, Vec<Workload>)>,
    pub(super) figures: Vec<CaseFigure>,
}

/// A variant under a load.
pub(super) type Arm = (&'static str, Workload);

/// A figure that is computed from the processor time of several arms in the same round.
pub(super) struct CaseFigure {
    pub(super) name: String,
    /// Sums and differences of microseconds.
    pub(super) over: Vec<(f64, Arm)>,
    /// What the sum is divided by; nothing if it stays in microseconds.
    pub(super) under: Vec<(f64, Arm)>,
    pub(super) target: Option<BenchTarget>,
}

const NATIVE_ONE: &str = NATIVE[0];
const EMPTY: &str = "empty filter";
const LUA: &str = "Lua filter";
const OURS: &str = "headers module";
const FULL: &str = "full module";
const BEFORE: &str = "--against";

/// The modules that are measured.
struct Modules {
    headers: PathBuf,
    full: PathBuf,
    /// The one of `--against`, and whether it has body hooks.
    against: Option<(PathBuf, bool)>,
}

/// All cases. The quick ones need no more than a minute.
pub(super) fn all(against: Option<&Path>, quick: bool) -> Vec<OverheadCase> {
    let against = against.map(|file| (file.to_owned(), has_body_hooks(file)));
    let (headers, full) = (artifacts::filter_headers(), artifacts::filter());
    let modules = Modules { headers, full, against };
    if quick {
        return vec![plain(&modules, true), realistic(&modules, true), stream(&modules, true)];
    }
    vec![
        plain(&modules, false),
        weights(&modules),
        realistic(&modules, false),
        stream(&modules, false),
        big(&modules),
        growth(&modules),
        protocol("http2", HTTP2, &modules),
        protocol("grpc", GRPC, &modules),
    ]
}

/// Whether a module exports the hook of a response's body.
fn has_body_hooks(module: &Path) -> bool {
    let bytes = std::fs::read(module).unwrap_or_else(|error| {
        panic!("--against {}: {error}", module.display());
    });
    let hook = b"proxy_on_response_body";
    bytes.windows(hook.len()).any(|window| window == hook)
}

fn native(workloads: &[Workload]) -> (OverheadVariant, Vec<Workload>) {
    (OverheadVariant::native(), workloads.to_vec())
}

fn one(variant: OverheadVariant, workload: Workload) -> (OverheadVariant, Vec<Workload>) {
    (variant, vec![workload])
}

impl Modules {
    fn headers(&self, name: &str, rollout: Value) -> OverheadVariant {
        OverheadVariant::ours(name, &self.headers, rollout)
    }

    fn full(&self, name: &str, rollout: Value) -> OverheadVariant {
        OverheadVariant::ours(name, &self.full, rollout)
    }
}

/// `over / under`, both arms under the same load.
fn ratio(
    over: &'static str,
    under: &'static str,
    load: Workload,
    target: Option<BenchTarget>,
) -> CaseFigure {
    let name = format!("{}, CPU ratio: {over} / {under}", load.name);
    CaseFigure { name, over: vec![(1.0, (over, load))], under: vec![(1.0, (under, load))], target }
}

/// `over − under`, in microseconds.
fn above(name: &str, over: Arm, under: Arm, target: Option<BenchTarget>) -> CaseFigure {
    let over = vec![(1.0, over), (-1.0, under)];
    CaseFigure { name: name.to_owned(), over, under: Vec::new(), target }
}

/// A plain GET through everything that is compared, and the module of `--against` beside ours.
fn plain(modules: &Modules, quick: bool) -> OverheadCase {
    let both = |variant| (variant, if quick { vec![SMALL] } else { vec![SMALL, BARE] });
    let mut variants = vec![
        both(OverheadVariant::native()),
        both(modules.headers(OURS, rollout(5.0))),
        both(OverheadVariant::empty()),
        one(modules.full(FULL, rollout(5.0)), SMALL),
        one(OverheadVariant::lua(), SMALL),
    ];
    let mut figures = vec![ratio(OURS, LUA, SMALL, Some(AtMost(1.0)))];
    if !quick {
        let affinity = rollout_with(5.0, json!({"affinity": [{"header": CLIENT_HEADER}]}));
        variants.insert(4, one(OverheadVariant::native_again(), SMALL));
        variants.push(one(modules.headers("headers module, affinity", affinity), SMALL));
        variants.push(one(OverheadVariant::without_filter(), SMALL));
        // An answer that ends with its headers isn't looked at again at its end. What any Wasm filter pays for
        // a body, the empty one pays as well.
        figures.push(CaseFigure {
            name: "check for broken answers / native".to_owned(),
            over: vec![
                (1.0, (OURS, SMALL)),
                (-1.0, (EMPTY, SMALL)),
                (-1.0, (OURS, BARE)),
                (1.0, (EMPTY, BARE)),
            ],
            under: vec![(1.0, (NATIVE_ONE, SMALL))],
            target: Some(AtMost(0.025)),
        });
    }
    if let Some((module, body_hooks)) = &modules.against {
        let ours = if *body_hooks { FULL } else { OURS };
        variants.push(one(OverheadVariant::ours(BEFORE, module, rollout(5.0)), SMALL));
        figures.push(ratio(ours, BEFORE, SMALL, None));
        let beyond = |name| vec![(1.0, (name, SMALL)), (-1.0, (EMPTY, SMALL))];
        figures.push(CaseFigure {
            name: format!("({ours} − empty) / (--against − empty)"),
            over: beyond(ours),
            under: beyond(BEFORE),
            target: Some(AtMost(0.5)),
        });
    }
    OverheadCase { name: "plain", variants, figures }
}

/// Requests to stable and to the canary.
fn weights(modules: &Modules) -> OverheadCase {
    let (none, all) = ("weight 0", "weight 100");
    let mut variants = vec![
        native(&[SMALL]),
        one(modules.headers(none, rollout(0.0)), SMALL),
        one(modules.headers(OURS, rollout(5.0)), SMALL),
        one(modules.headers(all, rollout(100.0)), SMALL),
    ];
    let target = Some(AtMost(2.0));
    let mut figures = vec![above("canary above stable", (all, SMALL), (none, SMALL), target)];
    if let Some((module, _)) = &modules.against {
        let (none_before, all_before) = ("--against, weight 0", "--against, weight 100");
        let before =
            |name, percent| one(OverheadVariant::ours(name, module, rollout(percent)), SMALL);
        variants.extend([before(none_before, 0.0), before(all_before, 100.0)]);
        let name = "--against: canary above stable";
        figures.push(above(name, (all_before, SMALL), (none_before, SMALL), None));
        figures.push(ratio(all, all_before, SMALL, None));
        figures.push(above(
            "to the canary, above --against",
            (all, SMALL),
            (all_before, SMALL),
            None,
        ));
    }
    OverheadCase { name: "weights", variants, figures }
}

/// What a client of a model server sends: twelve headers, 300 bytes of JSON.
fn realistic(modules: &Modules, quick: bool) -> OverheadCase {
    let header = "by header";
    let head = json!({"authorities": ["scorer.example.com"], "path_prefixes": ["/v1/models"]});
    let with = |affinity: Value| rollout_with(5.0, json!({"match": head, "affinity": [affinity]}));
    let by_header = with(json!({"header": CLIENT_HEADER}));
    let mut variants = vec![
        native(&[SMALL, REALISTIC]),
        one(modules.headers(OURS, rollout(5.0)), SMALL),
        one(modules.headers(header, by_header.clone()), REALISTIC),
    ];
    if !quick {
        let mut by_body = with(json!({"request_json": "/user"}));
        by_body["match"]["request_json"] = json!({"pointer": "/model", "values": ["scorer"]});
        let by_cookie = with(json!({"cookie": "canary-cohort"}));
        variants.extend([
            one(OverheadVariant::empty(), REALISTIC),
            one(modules.headers("by cookie", by_cookie), REALISTIC),
            one(modules.full("full module, by header", by_header), REALISTIC),
            one(modules.full("full module, by request_json", by_body), REALISTIC),
        ]);
    }
    let figures = vec![CaseFigure {
        name: "realistic request by header, above a plain GET".to_owned(),
        over: vec![
            (1.0, (header, REALISTIC)),
            (-1.0, (NATIVE_ONE, REALISTIC)),
            (-1.0, (OURS, SMALL)),
            (1.0, (NATIVE_ONE, SMALL)),
        ],
        under: Vec::new(),
        target: Some(AtMost(1.5)),
    }];
    OverheadCase { name: "realistic", variants, figures }
}

/// A stream of a hundred events, an event a chunk.
fn stream(modules: &Modules, quick: bool) -> OverheadCase {
    let (all, untimed) = ("sse, ttfb, gap, signal", "sse, signal");
    let events = |timings: Value| {
        let sse =
            json!({"done": "[DONE]", "error": "/error", "content": ["/choices/0/delta/content"]});
        let finish = json!({"name": "finish", "categories": ["stop", "length"],
            "from": {"response_sse": "/choices/0/finish_reason", "event": "last"}});
        rollout_with(5.0, json!({"failure": {"sse": sse}, "signals": [finish], "timings": timings}))
    };
    let mut variants = vec![
        native(&[STREAM]),
        one(modules.full(all, events(json!(["ttfb", "gap"]))), STREAM),
        one(modules.full(untimed, events(json!([]))), STREAM),
    ];
    if !quick {
        variants.push(one(OverheadVariant::empty(), STREAM));
        variants.push(one(modules.full(FULL, rollout(5.0)), STREAM));
    }
    let figures = vec![
        above("an event above native", (all, STREAM), (NATIVE_ONE, STREAM), Some(AtMost(3.0))),
        above("ttfb and gap, an event", (all, STREAM), (untimed, STREAM), Some(AtMost(1.0))),
    ];
    OverheadCase { name: "stream", variants, figures }
}

fn big(modules: &Modules) -> OverheadCase {
    let variants = vec![
        native(&[BIG]),
        one(OverheadVariant::empty(), BIG),
        one(modules.headers(OURS, rollout(5.0)), BIG),
        one(modules.full(FULL, rollout(5.0)), BIG),
    ];
    let figures = vec![ratio(FULL, EMPTY, BIG, Some(AtMost(1.02)))];
    OverheadCase { name: "big", variants, figures }
}

/// How the cost grows with the number of rollouts that don't match, and with versions.
fn growth(modules: &Modules) -> OverheadCase {
    let (none, eight, many) = ("0 rollouts", "8 rollouts", "32 rollouts");
    let by_header = "32 rollouts by header";
    let ours = |name| modules.headers(name, rollout(5.0));
    let mut variants = vec![
        native(&[SMALL]),
        one(ours(none).matching_nothing(), SMALL),
        one(ours(OURS), SMALL),
        one(ours(eight).behind(7), SMALL),
        one(ours(many).behind(31), SMALL),
        one(ours(by_header).behind_by_header(31), SMALL),
        one(ours("2 versions of stable").with_versions(2), SMALL),
        one(ours("32 versions of stable").with_versions(32), SMALL),
    ];
    let mut figures = vec![
        above("32 rollouts above one", (many, SMALL), (OURS, SMALL), Some(AtMost(1.0))),
        above("32 rollouts by header above one", (by_header, SMALL), (OURS, SMALL), None),
    ];
    if let Some((module, _)) = &modules.against {
        let before = OverheadVariant::ours("--against, 32 by header", module, rollout(5.0));
        variants.push(one(before.behind_by_header(31), SMALL));
        let before = ("--against, 32 by header", SMALL);
        figures.push(above(
            "32 rollouts by header, above --against",
            (by_header, SMALL),
            before,
            None,
        ));
    }
    OverheadCase { name: "growth", variants, figures }
}

fn protocol(name: &'static str, load: Workload, modules: &Modules) -> OverheadCase {
    let variants = vec![
        native(&[load]),
        one(OverheadVariant::empty(), load),
        one(modules.headers(OURS, rollout(5.0)), load),
        one(modules.full(FULL, rollout(5.0)), load),
    ];
    OverheadCase { name, variants, figures: Vec::new() }
}
