// SPDX-License-Identifier: Apache-2.0

//! The version of the SDK that the lock file names, for the client's own name.
fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").expect("Cargo.lock");
    let at = lock.find("name = \"opentelemetry_sdk\"").expect("opentelemetry_sdk");
    let version = lock[at..].split('"').nth(3).expect("a version");
    println!("cargo:rustc-env=SDK_VERSION={version}");
    println!("cargo:rerun-if-changed=Cargo.lock");
}
