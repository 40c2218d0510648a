//! The attributions that licences of data ask for, as a file beside the data.

use super::data_set::DataSet;

/// The name of the file.
pub(super) fn file(data_set: DataSet) -> String {
    format!("NOTICE-{}.txt", data_set.name())
}

/// Its text: whose data it is, which version, what was changed, and the licences that came with it.
pub(super) fn text(data_set: DataSet, version: &str, licences: &[(String, String)]) -> String {
    let mut text = format!(
        "{}\n\nPackage {}, version {version}; the files are as they were published.\n",
        data_set.attribution(),
        data_set.package(),
    );
    for (name, licence) in licences {
        text.push_str(&format!("\n==== {name}\n\n{}\n", licence.trim_end()));
    }
    text
}

/// Whether a file of the package says under which conditions it may be used.
pub(super) fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["LICENSE", "LICENCE", "NOTICE", "COPYING"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_names_the_makers_and_holds_the_licences() {
        let licences = [("DBIP-LICENSE".to_owned(), "conditions\n\n".to_owned())];
        let text = text(DataSet::City, "1.2.3", &licences);
        for part in [
            "IP Geolocation by DB-IP, https://db-ip.com",
            "CC BY 4.0",
            "version 1.2.3",
            "==== DBIP-LICENSE\n\nconditions\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(super::text(DataSet::Country, "1", &[]).contains("https://www.nro.net"));
        assert!(is_licence("DBIP-LICENSE") && is_licence("license.md") && !is_licence("README.md"));
    }
}
