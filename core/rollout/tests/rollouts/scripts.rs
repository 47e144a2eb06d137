//! Each script against its transcript.

use insta::assert_snapshot;

use crate::script::play;

macro_rules! scripts {
    ($($(#[$what:meta])* $name:ident)*) => {$(
        $(#[$what])*
        #[test]
        fn $name() {
            let script = include_str!(concat!("scripts/", stringify!($name), ".txt"));
            assert_snapshot!(stringify!($name), play(script));
        }
    )*};
}

scripts! {
    good
    bad
    manual_pause
    timeout
    steering
    guard
    guarding
    fleet
    outages
    gates
    prometheus
    owners
    clock
    /// Thrown before the rollout wrote to an Envoy it is set back; thrown later it is an order to go back.
    kill_switch
}
