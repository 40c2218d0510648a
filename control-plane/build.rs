//! Turns the wire protocol of the contract into Rust: the server that runs here and the client that tests use.
//! Nothing is written outside of the build folder.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure()
        .bytes(".")
        .compile_protos(&["../contract/proto/control.proto"], &["../contract/proto"])
}
