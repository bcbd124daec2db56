//! Sees to it that a dashboard that was built anew gets into the program.
//!
//! A release carries `web/dist` inside, and the compiler knows only the files that were there the last time. A debug
//! build reads the folder while it runs, so there is nothing to do for it.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("PROFILE").as_deref() == Ok("debug") {
        return;
    }
    // A path that does not exist would count as changed each time: until there is a dashboard, watch where it comes to be.
    let dist = Path::new("web/dist");
    let watched = if dist.exists() {
        dist
    } else {
        Path::new("web")
    };
    if watched.exists() {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
}
