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
}
