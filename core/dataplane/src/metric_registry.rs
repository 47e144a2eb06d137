//! The numbers of the metrics that a VM has defined. Envoy never frees a metric, so a name is defined
//! once.

use std::cell::RefCell;
use std::rc::Rc;

use canary_model::stat_name::StatName;

use crate::host::{Host, HostMetricKind, MetricId};

/// The metrics that one VM has defined, in order of name and kind. (A tree would be four kilobytes of
/// code.) All workers of the VM share it, because a version may turn up at any request.
#[derive(Clone, Debug, Default)]
pub struct MetricRegistry(Rc<RefCell<Vec<DefinedMetric>>>);

/// A metric that the host knows, and its number.
#[derive(Debug)]
struct DefinedMetric {
    name: String,
    kind: HostMetricKind,
    id: MetricId,
}

impl MetricRegistry {
    /// The host's number for a metric. `None` if the host refuses it: then it isn't counted, and
    /// requests go on.
    pub(crate) fn define(
        &self,
        host: &impl Host,
        kind: HostMetricKind,
        name: &StatName<'_>,
    ) -> Option<MetricId> {
        let name = name.defined();
        let order =
            |known: &DefinedMetric| (known.name.as_str(), known.kind).cmp(&(name.as_str(), kind));
        let mut metrics = self.0.borrow_mut();
        match metrics.binary_search_by(order) {
            Ok(place) => metrics.get(place).map(|known| known.id),
            Err(place) => {
                let id = host.define_metric(kind, &name)?;
                metrics.insert(place, DefinedMetric { name, kind, id });
                Some(id)
            }
        }
    }
}
