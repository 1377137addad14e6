//! How the linker lays out the programs.

fn main() {
    // bpf-linker asks LLVM to copy in the order of the addresses, and with that LLVM clears and copies
    // everything in calls, a byte at a time: a record in over a thousand instructions.
    println!("cargo::rustc-link-arg-bins=--disable-expand-memcpy-in-order");
}
