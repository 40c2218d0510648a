//! Generates the messages, the client and (for tests) the server of the control plane's protocol.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure()
        .bytes(".tidegate.control.v1.PackedBatch")
        .compile_protos(&["../contract/proto/control.proto"], &["../contract/proto"])
}
