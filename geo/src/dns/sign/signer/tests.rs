//! Every kind of answer of a signed zone, finished for those who want signatures and those who do not.

use std::{collections::BTreeMap, net::IpAddr};

use hickory_proto::{
    dnssec::Verifier,
    rr::{DNSClass, Record},
};

use super::{
    super::{
        key_file::Folder,
        rollover::{Kind, Times},
    },
    *,
};
use crate::{
    dns::{answer::answer, subnet::Subnet, testing},
    world::World,
    zone::ZoneTable,
};

const FLEET: &str = r#"
    [[pop]]
    id = "fra"
    latitude = 50.1
    longitude = 8.7
    capacity = 100.0
    addresses = ["192.0.2.1", "192.0.2.2"]
"#;

const ZONE: &str = "
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 192.0.2.53
_steer.video IN TXT \"port=8443\"
www IN CNAME video
dangling IN CNAME nowhere
*.wild IN TXT \"any\"
long 9000000 IN TXT \"kept for long\"
sub IN NS ns.sub
ns.sub IN A 192.0.2.54
secure IN NS ns.sub
secure IN DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
child IN NS ns
";

/// Not signed, below a zone that is.
const CHILD: &str = "
$TTL 300
@ IN SOA ns.example. hostmaster 1 3600 600 86400 60
@ IN NS ns.example.
www IN A 192.0.2.9
";

struct Signed {
    signer: Signer,
    zones: Arc<Zones>,
    world: World,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

impl Signed {
    fn new(config: &Config) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let times = Times { active: Some(now), ..Times::published(now) };
        let folder = Folder::new(place.path().join("keys"));
        folder.generate(&name("example."), Kind::Csk, times, &[]).expect("made");
        let keys = Keys::read(&folder).expect("good");
        let signer = Signer::new(config, keys, &Registry::new());

        let table = ZoneTable::new();
        let texts = [("example", ZONE), ("child.example", CHILD), ("other", CHILD)];
        let texts: BTreeMap<String, String> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        let complaints = table.take_feed(&texts);
        assert!(complaints.is_empty(), "{complaints:?}");
        Self { signer, zones: table.newest_full(), world: testing::world(FLEET) }
    }

    fn ask(&self, text: &str, kind: RecordType, flags: &str) -> Result<Answer, SignError> {
        let name = name(text);
        let query = Query {
            name: &name,
            kind,
            dnssec_ok: flags.contains('d'),
            compact_ok: flags.contains('c'),
            client: IpAddr::from([198, 51, 100, 7]),
            subnet: None::<Subnet>,
        };
        let mut answer = answer(&self.zones, &self.world, &query);
        self.signer.finish(&mut answer, &self.zones, &query, SystemTime::now())?;
        Ok(answer)
    }

    /// The answer in short: code, then what stands in answers and authorities: owner and type, `+` where the signatures
    /// after it verify.
    fn shown(&self, text: &str, kind: RecordType, flags: &str) -> String {
        let answer = self.ask(text, kind, flags).expect("signed");
        let code = format!("{:?}", answer.code);
        [code, self.section(&answer.answers), self.section(&answer.authorities)].join(" | ")
    }

    fn section(&self, sets: &[RecordSet]) -> String {
        let mut shown = String::new();
        let mut last: Option<&RecordSet> = None;
        for set in sets {
            if set.kind == RecordType::RRSIG {
                self.verify(last.expect("a signature follows its set"), set);
                shown.push('+');
            } else {
                let owner = set.owner.to_ascii();
                let data = match set.kind {
                    RecordType::NSEC => format!(" {}", set.data[0]),
                    _ => String::new(),
                };
                let owner = owner.strip_suffix("example.").unwrap_or(&owner);
                shown.push_str(&format!(" {owner}{}{data}", set.kind));
            }
            last = Some(set);
        }
        shown.trim().to_owned()
    }

    fn verify(&self, set: &RecordSet, signatures: &RecordSet) {
        let keys = self.signer.keys.load();
        let zone = keys.zone(&name("example.")).expect("signed");
        let records: Vec<Record> = set.records().collect();
        assert_eq!((signatures.ttl, &signatures.owner), (set.ttl, &set.owner));
        for signature in &*signatures.data {
            let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = signature else { panic!("{signature}") };
            assert_eq!(rrsig.input().type_covered, set.kind);
            let key = zone.keys().iter().find(|key| key.life.tag == rrsig.input().key_tag);
            let dnskey = &key.expect("the key is there").dnskey;
            dnskey
                .verify_rrsig(&set.owner, DNSClass::IN, rrsig, records.iter())
                .expect("it verifies");
        }
    }
}

#[test]
fn whoever_knows_compact_denials_is_told_that_they_are_given() {
    let signed = Signed::new(&Config::default());
    for (name, flags, is_compact) in [
        ("nope.example.", "dc", true),
        ("example.", "dc", true),
        ("example.", "d", false),
        ("nope.example.", "c", false),
        ("nope.other.", "dc", false),
    ] {
        let answer = signed.ask(name, RecordType::SOA, flags).expect("signed");
        assert_eq!(answer.is_compact, is_compact, "{name} {flags}");
    }
}

#[test]
fn every_kind_of_answer_is_signed_and_proved() {
    use RecordType::{A, AAAA, CDNSKEY, CDS, CNAME, DNSKEY, DS, HTTPS, NS, NSEC, SOA, TXT};
    let signed = Signed::new(&Config::default());
    let mut wrong = vec![];
    for (asked, kind, flags, expected) in [
        ("video.example.", A, "d", "NoError | video.A+ | "),
        ("video.example.", HTTPS, "d", "NoError | video.HTTPS+ | "),
        ("ViDeO.example.", A, "d", "NoError | ViDeO.A+ | "),
        ("video.example.", A, "", "NoError | video.A | "),
        (
            "video.example.",
            AAAA,
            "d",
            "NoError |  | SOA+ video.NSEC \\000.video.example. A RRSIG NSEC HTTPS+",
        ),
        ("video.example.", AAAA, "", "NoError |  | SOA"),
        (
            "video.example.",
            TXT,
            "d",
            "NoError |  | SOA+ video.NSEC \\000.video.example. A AAAA RRSIG NSEC HTTPS+",
        ),
        ("www.example.", A, "d", "NoError | www.CNAME+ video.A+ | "),
        ("www.example.", CNAME, "d", "NoError | www.CNAME+ | "),
        (
            "dangling.example.",
            A,
            "d",
            "NoError | dangling.CNAME+ | SOA+ nowhere.NSEC \\000.nowhere.example. RRSIG NSEC Unknown+",
        ),
        (
            "nope.example.",
            A,
            "d",
            "NoError |  | SOA+ nope.NSEC \\000.nope.example. RRSIG NSEC Unknown+",
        ),
        (
            "nope.example.",
            A,
            "dc",
            "NXDomain |  | SOA+ nope.NSEC \\000.nope.example. RRSIG NSEC Unknown+",
        ),
        ("nope.example.", A, "", "NXDomain |  | SOA"),
        ("nope.example.", A, "c", "NXDomain |  | SOA"),
        ("wild.example.", A, "d", "NoError |  | SOA+ wild.NSEC \\000.wild.example. RRSIG NSEC+"),
        ("a.wild.example.", TXT, "d", "NoError | a.wild.TXT+ | "),
        (
            "a.wild.example.",
            A,
            "d",
            "NoError |  | SOA+ a.wild.NSEC \\000.a.wild.example. TXT RRSIG NSEC+",
        ),
        ("example.", SOA, "d", "NoError | SOA+ | "),
        ("example.", NS, "d", "NoError | NS+ | "),
        (
            "example.",
            A,
            "d",
            "NoError |  | SOA+ NSEC \\000.example. NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY+",
        ),
        ("example.", DNSKEY, "d", "NoError | DNSKEY+ | "),
        ("example.", DNSKEY, "", "NoError | DNSKEY | "),
        ("example.", CDS, "d", "NoError | CDS+ | "),
        ("example.", CDNSKEY, "", "NoError | CDNSKEY | "),
        (
            "example.",
            NSEC,
            "d",
            "NoError | NSEC \\000.example. NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY+ | ",
        ),
        (
            "nope.example.",
            NSEC,
            "d",
            "NoError | nope.NSEC \\000.nope.example. RRSIG NSEC Unknown+ | ",
        ),
        ("video.example.", DNSKEY, "", "NoError |  | SOA"),
        (
            "x.sub.example.",
            A,
            "d",
            "NoError |  | sub.NS sub.NSEC \\000.sub.example. NS RRSIG NSEC+",
        ),
        ("x.sub.example.", A, "", "NoError |  | sub.NS"),
        ("sub.example.", DS, "d", "NoError |  | SOA+ sub.NSEC \\000.sub.example. NS RRSIG NSEC+"),
        ("x.secure.example.", A, "d", "NoError |  | secure.NS secure.DS+"),
        ("secure.example.", DS, "d", "NoError | secure.DS+ | "),
        ("www.child.example.", A, "d", "NoError | www.child.A | "),
        ("nope.child.example.", A, "d", "NXDomain |  | child.SOA"),
        (
            "child.example.",
            DS,
            "d",
            "NoError |  | SOA+ child.NSEC \\000.child.example. NS RRSIG NSEC+",
        ),
        ("www.other.", A, "d", "NoError | www.other.A | "),
        ("example.", RecordType::ANY, "d", "Refused |  | "),
    ] {
        let shown = signed.shown(asked, kind, flags);
        if shown != expected {
            wrong.push(format!("{asked} {kind} {flags}\n  is {shown}\n not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_set_is_signed_once_and_no_longer_than_it_may_be_held() {
    let signed = Signed::new(&Config::default());
    for _ in 0..3 {
        signed.ask("VIDEO.example.", RecordType::A, "d").expect("signed");
        signed.ask("video.example.", RecordType::A, "d").expect("signed");
    }
    assert_eq!((signed.signer.metrics.made.get(), signed.signer.metrics.reused.get()), (1, 5));
    let long = signed.ask("long.example.", RecordType::TXT, "d").expect("signed");
    assert_eq!(long.answers[0].ttl, 86_400);
    assert_eq!(signed.section(&long.answers), "long.TXT+");
}

#[test]
fn too_many_at_once_are_refused_and_what_was_signed_is_not() {
    let signed = Signed::new(&Config { signing_max: 2, ..Config::default() });
    let kept = signed.ask("video.example.", RecordType::A, "d").expect("signed");
    let turns = [signed.signer.turn().expect("free"), signed.signer.turn().expect("free")];
    assert_eq!(signed.ask("nope.example.", RecordType::A, "d"), Err(SignError::Busy));
    assert_eq!(signed.ask("video.example.", RecordType::A, "d").expect("signed"), kept);
    assert!(signed.ask("nope.example.", RecordType::A, "").is_ok());
    drop(turns);
    assert!(signed.ask("nope.example.", RecordType::A, "d").is_ok());
    assert_eq!(signed.signer.metrics.refused.get(), 1);
}
