//! Turns the wire protocols into Rust: the contract's, as the server that runs here and the client that tests use, and
//! what we say to etcd. Nothing is written outside of the build folder.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure()
        .bytes(".")
        .compile_protos(&["../contract/proto/control.proto"], &["../contract/proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_protos(&["proto/etcd.proto"], &["proto"])
}
