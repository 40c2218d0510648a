//! The configurations that are shipped say what the code says.

use std::path::Path;

use tidegate_chassis::config::{check_reference, from_toml};
use tidegate_edge::config::Config;

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_standalone_example_can_serve() {
    let config: Config = from_toml(&text("edge-standalone.toml")).unwrap();
    assert_eq!(config.property.len(), 1);
}

#[test]
fn the_reference_holds_every_key_with_its_default() {
    // The one thing that has no default is what to serve: without it, a node that stands alone refuses to start.
    let reference = text("tidegate-edge.toml");
    assert!(from_toml::<Config>(&reference).is_err());
    check_reference::<Reference>(&reference).unwrap();
}

/// The configuration with its own defaults, but without the demand for a property.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Reference(Config);

impl tidegate_chassis::ProgramConfig for Reference {
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn process(&self) -> &tidegate_chassis::ProcessConfig {
        &self.0.process
    }
}
