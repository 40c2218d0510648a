//! The bodies of the API, field by field: name and type; a field that may be absent or null has a `?` behind its name.
//!
//! A test compares them with the types that are really sent, so that a new field is not forgotten here.

/// One field of a body.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// `string`, `integer`, `number`, `boolean`, `object`, another body, or one of these in brackets for a list.
    pub(super) kind: &'static str,
}

const fn is(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind }
}

/// The bodies, by their names in the document.
#[rustfmt::skip]
pub(super) const BODIES: &[(&str, &[Field])] = &[
    ("Problem", &[is("type", "string"), is("title", "string"), is("status", "integer"), is("detail?", "string"), is("approval?", "string")]),
    ("PurgeRequest", &[is("kind", "string"), is("host?", "string"), is("path?", "string"), is("path_prefix?", "string"), is("key?", "string"), is("id?", "string"), is("soft?", "boolean"), is("replace?", "object"), is("wait?", "any"), is("deadline?", "string")]),
    ("AuditEntry", &[is("number", "integer"), is("prev", "string"), is("hash", "string"), is("canonical", "string"), is("row?", "AuditRow")]),
    ("Approval", &[is("id", "string"), is("danger", "string"), is("target", "string"), is("digest", "string"), is("token", "string"), is("person", "string"), is("reason", "string"), is("state", "string"), is("asked_unix_ms", "integer"), is("expires_unix_ms", "integer"), is("decided_by?", "string")]),
    ("Purge", &[is("id", "string"), is("stream", "string"), is("offset", "integer"), is("accepted_unix_ms", "integer"), is("order?", "object"), is("replacement?", "Replacement"), is("pops?", "[PurgeNode]"), is("reached?", "boolean"), is("complete?", "boolean")]),
    ("PurgePlan", &[is("order", "object"), is("replacement_bytes?", "integer"), is("properties?", "[string]"), is("pops", "[PurgePlanPop]"), is("limits", "[PurgeLimit]"), is("needs_approval", "boolean"), is("dry_run", "boolean")]),
    ("PurgePlanPop", &[is("pop", "string"), is("nodes", "integer"), is("connected", "integer")]),
    ("PurgeLimit", &[is("limit", "string"), is("per_second", "number"), is("burst", "number"), is("left", "integer"), is("wait_ms", "integer")]),
    ("PurgeNode", &[is("pop", "string"), is("node", "string"), is("state", "string"), is("ms?", "integer"), is("why?", "string")]),
    ("PurgeList", &[is("stream", "string"), is("head", "integer"), is("purges", "[Purge]")]),
    ("Replacement", &[is("digest", "string"), is("bytes?", "integer"), is("headers?", "object")]),
    ("Replica", &[is("id", "string"), is("leads", "boolean"), is("listens", "string"), is("epoch", "integer")]),
    ("Authority", &[is("phase", "string"), is("bundle_pem", "string"), is("authorities", "[AuthorityItem]"), is("lacking", "[CutOff]")]),
    ("AuthorityItem", &[is("sha256", "string"), is("role", "string"), is("ends_unix_ms", "integer")]),
    ("CutOff", &[is("node", "string"), is("why", "string")]),
    ("RotationRequest", &[is("step", "string")]),
    ("PopList", &[is("pops", "[Pop]")]),
    ("Pop", &[is("pop", "string"), is("role", "string"), is("shield_upstream?", "object"), is("state", "string"), is("generation", "integer"), is("purge_head", "integer"), is("nodes", "[Node]")]),
    ("Node", &[is("node", "string"), is("state", "string"), is("connected", "boolean"), is("build", "string"), is("generation", "integer"), is("nack?", "Nack"), is("purge_applied?", "integer"), is("purge_lag?", "integer"), is("heard_unix_ms?", "integer"), is("certificate_expires_unix_ms", "integer"), is("health?", "Health")]),
    ("Nack", &[is("generation", "integer"), is("error", "string")]),
    ("Health", &[is("ready", "boolean"), is("draining", "boolean"), is("requests_total", "integer"), is("hits_total", "integer"), is("errors_total", "integer"), is("cache_bytes", "integer"), is("started_unix_ms", "integer")]),
    ("PopRequest", &[is("role", "string"), is("shield_upstream?", "object")]),
    ("NodeOrderRequest", &[is("act", "string"), is("reason", "string")]),
    ("NodeOrder", &[is("node", "string"), is("number?", "integer"), is("act", "string"), is("state", "string"), is("detail", "string"), is("by?", "string"), is("reason?", "string"), is("ordered_unix_ms?", "integer"), is("answered_unix_ms?", "integer")]),
    ("LogList", &[is("pop", "string"), is("nodes", "[NodeLog]")]),
    ("NodeLog", &[is("node", "string"), is("state", "string"), is("why?", "string"), is("place?", "LogPlace"), is("lost", "integer"), is("is_more", "boolean"), is("older", "integer"), is("lines", "[LogLine]")]),
    ("LogPlace", &[is("process", "integer"), is("line", "integer")]),
    ("LogLine", &[is("line", "integer"), is("at_unix_ms", "integer"), is("level", "string"), is("target", "string"), is("message", "string"), is("fields?", "object"), is("is_cut?", "boolean")]),
    ("CheckList", &[is("pop", "string"), is("nodes", "[NodeCheck]")]),
    ("NodeCheck", &[is("node", "string"), is("state", "string"), is("why?", "string"), is("checks", "[Check]")]),
    ("Check", &[is("check", "string"), is("is_ok", "boolean"), is("found", "string"), is("took_ms", "integer")]),
    ("Revoked", &[is("pop", "string"), is("nodes", "[string]"), is("dry_run", "boolean")]),
    ("EnrolmentToken", &[is("token", "string"), is("pop", "string"), is("expires_unix_ms", "integer")]),
    ("PropertyList", &[is("properties", "[Property]")]),
    ("Property", &[is("property", "object"), is("generation", "integer")]),
    ("Change", &[is("id", "string"), is("changed", "boolean"), is("created", "boolean"), is("dry_run", "boolean"), is("generation", "integer")]),
    ("Resource", &[is("kind", "string"), is("name", "string"), is("generation?", "integer"), is("spec", "object"), is("labels?", "object")]),
    ("ChangeRequest", &[is("title?", "string"), is("reason?", "string"), is("base?", "integer"), is("puts?", "[object]"), is("deletes?", "[object]")]),
    ("ChangeSet", &[is("id", "string"), is("title", "string"), is("reason", "string"), is("author", "string"), is("created_unix_ms", "integer"), is("base", "integer"), is("state", "string"), is("approved_by?", "string"), is("version?", "integer"), is("resources", "[string]"), is("turns?", "[string]"), is("steps?", "[Step]"), is("conflict?", "string")]),
    ("Step", &[is("kind", "string"), is("name", "string"), is("act", "string"), is("before?", "object"), is("after?", "object"), is("labels_before?", "object"), is("labels_after?", "object")]),
    ("PublishRequest", &[is("stage", "string"), is("reason?", "string")]),
    ("RollbackRequest", &[is("to", "integer"), is("reason", "string")]),
    ("ReleaseAnswer", &[is("version", "integer"), is("changed", "boolean")]),
    ("Release", &[is("version", "integer"), is("root", "string"), is("created_unix_ms", "integer"), is("expires_unix_ms", "integer"), is("build_min", "string"), is("key_number", "integer"), is("author", "string"), is("reason", "string"), is("change?", "string"), is("repeats?", "integer"), is("pace", "string"), is("resources?", "[string]")]),
    ("TokenRequest", &[is("label", "string"), is("scopes?", "[string]"), is("roles?", "[string]"), is("lifetime?", "string"), is("reason?", "string")]),
    ("Token", &[is("id", "string"), is("label", "string"), is("scopes", "[string]"), is("roles", "[string]"), is("created_unix_ms", "integer"), is("created_by?", "string"), is("expires_unix_ms?", "integer"), is("token?", "string")]),
    ("Whoami", &[is("id", "string"), is("label", "string"), is("scopes", "[string]")]),
    ("CanIRequest", &[is("verb", "string"), is("target?", "string")]),
    ("CanI", &[is("allowed", "boolean"), is("by", "[string]")]),
    ("AuditList", &[is("items", "[AuditEntry]"), is("head", "Head")]),
    ("AuditVerdict", &[is("ok", "boolean"), is("from", "integer"), is("to", "integer"), is("hash", "string"), is("head", "Head"), is("broken?", "object")]),
    ("Status", &[is("at_unix_ms", "integer"), is("purge_head", "integer"), is("pops", "[PopStatus]"), is("release", "ReleaseStatus"), is("approvals_pending", "integer"), is("audit", "Head")]),
    ("PopStatus", &[is("pop", "string"), is("role", "string"), is("state", "string"), is("nodes", "integer"), is("nodes_up", "integer"), is("release", "integer"), is("release_oldest?", "integer"), is("purge_lag?", "integer"), is("hit_ratio?", "number"), is("place?", "Place")]),
    ("Place", &[is("latitude", "number"), is("longitude", "number")]),
    ("ReleaseStatus", &[is("version", "integer"), is("stage?", "string"), is("next?", "string")]),
    ("Head", &[is("number", "integer"), is("hash", "string"), is("first", "integer")]),
    ("AuditRow", &[is("at_unix_ms", "integer"), is("token", "string"), is("label?", "string"), is("action", "string"), is("status", "integer"), is("reason?", "string"), is("notes?", "[string]")]),
    ("Replica", &[is("id", "string"), is("leads", "boolean"), is("listens", "string"), is("epoch", "integer")]),
    ("Role", &[is("name", "string"), is("scopes", "[string]"), is("description?", "string")]),
    ("DrainRequest", &[is("to_level?", "string"), is("deadline?", "string"), is("reason", "string")]),
    ("Drain", &[is("stage", "string"), is("is_done", "boolean"), is("weight_percent", "integer"), is("plans?", "[Plan]"), is("drain", "object")]),
    ("TrialRequest", &[is("timeout?", "string")]),
    ("Trial", &[is("pop", "string"), is("id", "integer"), is("is_confirmed", "boolean")]),
    ("FleetList", &[is("revision", "integer"), is("items", "[FleetPop]")]),
    ("FleetPop", &[is("pop", "string"), is("site", "object"), is("health", "string"), is("why", "string"), is("stage?", "string"), is("weight_percent", "integer"), is("mbps", "integer")]),
    ("Group", &[is("group", "string"), is("epoch", "integer"), is("prefixes", "[string]"), is("interlock", "Interlock"), is("pops", "[GroupPop]")]),
    ("GroupPop", &[is("pop", "string"), is("health", "string"), is("percent", "integer"), is("is_draining", "boolean"), is("told", "object"), is("announced", "object"), is("is_gate_closed", "boolean"), is("sessions", "integer"), is("established", "integer")]),
    ("LevelRequest", &[is("pop", "string"), is("prefixes?", "[string]"), is("level", "any"), is("reason", "string")]),
    ("Plan", &[is("group", "string"), is("pop", "string"), is("changes", "object"), is("expected_percent", "object"), is("epoch?", "integer")]),
    ("Interlock", &[is("min_announcing", "integer"), is("max_capacity_withdrawn_percent", "integer"), is("is_frozen", "boolean"), is("is_shedding", "boolean")]),
    ("InterlockRequest", &[is("min_announcing?", "integer"), is("max_capacity_withdrawn_percent?", "integer"), is("is_frozen", "boolean"), is("is_shedding", "boolean")]),
    ("GeoNode", &[is("node", "string"), is("label", "string"), is("since_unix_ms", "integer"), is("version", "integer"), is("lost", "integer")]),
    ("DnsAnswer", &[is("node", "string"), is("answer", "any")]),
    ("Catchment", &[is("group", "string"), is("node", "string"), is("prefixes", "[CatchmentPrefix]"), is("catchment", "any"), is("withdrawals", "[Withdrawal]")]),
    ("CatchmentPrefix", &[is("prefix", "string"), is("block", "string")]),
    ("Withdrawal", &[is("pop", "string"), is("lands", "[Landing]"), is("expected_percent?", "object")]),
    ("Landing", &[is("prefix", "string"), is("to?", "string")]),
    ("ZoneList", &[is("version", "integer"), is("items", "[Zone]"), is("asked", "[string]"), is("silent", "[ZoneSilence]")]),
    ("Zone", &[is("zone", "string"), is("is_released", "boolean"), is("serial?", "integer"), is("records", "integer"), is("steered", "integer"), is("nodes", "[ZoneAtNode]")]),
    ("ZoneAtNode", &[is("node", "string"), is("source", "string"), is("is_file", "boolean"), is("serial?", "integer"), is("records", "integer"), is("signed?", "boolean"), is("error?", "string")]),
    ("ZoneSilence", &[is("node", "string"), is("why", "string")]),
    ("ZoneContent", &[is("version", "integer"), is("zone", "string"), is("serial", "integer"), is("records", "[Record]"), is("left_out", "integer")]),
    ("Record", &[is("name", "string"), is("ttl", "integer"), is("type", "string"), is("data", "string")]),
    ("SigningList", &[is("items", "[NodeSigning]")]),
    ("NodeSigning", &[is("node", "string"), is("answer?", "any"), is("error?", "string")]),
    ("RollRequest", &[is("kind?", "string"), is("ds_seen?", "boolean"), is("without?", "[string]"), is("step?", "string"), is("before?", "integer"), is("reason", "string")]),
    ("Roll", &[is("zone", "string"), is("kind", "string"), is("step", "string"), is("text", "string"), is("is_due", "boolean"), is("from?", "string"), is("next?", "string"), is("ds", "[string]"), is("before", "integer"), is("revision?", "integer"), is("nodes", "[string]")]),
    ("HoldRequest", &[is("reason", "string")]),
    ("Hold", &[is("frozen?", "Freeze")]),
    ("Freeze", &[is("by", "string"), is("reason", "string"), is("since_unix_ms", "integer")]),
    ("PopHealth", &[is("pop", "string"), is("health", "string"), is("why", "string"), is("views_good", "integer"), is("views_bad", "integer"), is("requests", "integer"), is("errors", "integer"), is("nodes", "[NodeHealth]")]),
    ("Top", &[is("nodes", "integer"), is("nodes_all", "integer"), is("low_by_requests_per_s", "number"), is("low_by_mbps", "number"), is("items", "[TopItem]")]),
    ("TopItem", &[is("property", "string"), is("path?", "string"), is("requests_per_s", "number"), is("mbps", "number"), is("pops", "integer")]),
    ("HealthChange", &[is("pop", "string"), is("at_unix_ms", "integer"), is("from", "string"), is("to", "string"), is("why", "string")]),
    ("NodeHealth", &[is("node", "string"), is("heard_unix_ms", "integer"), is("mbps", "integer"), is("resets", "integer"), is("report", "object")]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The fields of a struct, as its source says.
    fn fields(source: &str, name: &str) -> BTreeSet<String> {
        let (_, after) = source.split_once(&format!("pub struct {name} {{")).expect(name);
        let (inside, _) = after.split_once("\n}").expect("it ends");
        let lines = inside.lines().filter_map(|line| line.strip_prefix("    pub "));
        lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    }

    #[test]
    fn every_body_has_the_fields_of_its_type() {
        let model = concat!(
            include_str!("../model/authority.rs"),
            include_str!("../model/pops.rs"),
            include_str!("../model/purges.rs"),
            include_str!("../model/questions.rs"),
            include_str!("../../../../contract/src/node_question.rs"),
            include_str!("../model/releases.rs"),
            include_str!("../model/resources.rs"),
            include_str!("../model/top.rs"),
        );
        let access = include_str!("../access_model.rs");
        let anycast = include_str!("../anycast_model.rs");
        let (permits, group) =
            (include_str!("../../anycast/permits.rs"), include_str!("../../anycast/state.rs"));
        let geo = include_str!("../geo_model.rs");
        let (following, freeze) =
            (include_str!("../../geo/following.rs"), include_str!("../../geo/freeze.rs"));
        let (chain, roles) =
            (include_str!("../../access/chain.rs"), include_str!("../../access/roles.rs"));
        for (body, name, source) in [
            ("Purge", "PurgeView", model),
            ("PurgePlan", "PurgePlanView", model),
            ("PurgePlanPop", "PurgePlanPop", model),
            ("PurgeLimit", "PurgeLimitView", model),
            ("PurgeNode", "PurgeNodeView", model),
            ("PurgeList", "PurgeList", model),
            ("Replacement", "ReplacementView", model),
            ("Replica", "ReplicaView", model),
            ("Authority", "AuthorityView", model),
            ("AuthorityItem", "AuthorityItem", model),
            ("RotationRequest", "RotationRequest", model),
            ("PopList", "PopList", model),
            ("Pop", "PopView", model),
            ("Node", "NodeView", model),
            ("Nack", "NackView", model),
            ("Health", "HealthView", model),
            ("PopRequest", "PopRequest", model),
            ("NodeOrderRequest", "NodeOrderRequest", model),
            ("NodeOrder", "NodeOrderView", model),
            ("LogList", "LogList", model),
            ("NodeLog", "NodeLogView", model),
            ("LogPlace", "LogPlace", model),
            ("LogLine", "LogLine", model),
            ("CheckList", "CheckList", model),
            ("NodeCheck", "NodeCheckView", model),
            ("Check", "Check", model),
            ("Revoked", "RevokedView", model),
            ("EnrolmentToken", "EnrolmentTokenView", model),
            ("PropertyList", "PropertyList", model),
            ("Property", "PropertyView", model),
            ("Change", "ChangeView", model),
            ("Resource", "ResourceView", model),
            ("ChangeRequest", "ChangeRequest", model),
            ("ChangeSet", "ChangeSetView", model),
            ("Step", "StepView", model),
            ("Replica", "ReplicaView", model),
            ("PublishRequest", "PublishRequest", model),
            ("RollbackRequest", "RollbackRequest", model),
            ("ReleaseAnswer", "ReleaseAnswer", model),
            ("Release", "ReleaseView", model),
            ("TokenRequest", "TokenRequest", access),
            ("Token", "TokenView", access),
            ("Whoami", "WhoamiView", access),
            ("CanIRequest", "CanIRequest", access),
            ("CanI", "CanIView", access),
            ("AuditList", "AuditList", access),
            ("AuditVerdict", "AuditVerdict", access),
            ("Status", "StatusPageView", access),
            ("PopStatus", "PopStatus", access),
            ("Place", "PlaceView", access),
            ("ReleaseStatus", "ReleaseStatus", access),
            ("Head", "Head", chain),
            ("AuditRow", "Row", chain),
            ("Role", "Role", roles),
            ("DrainRequest", "DrainRequest", anycast),
            ("Drain", "DrainView", anycast),
            ("TrialRequest", "TrialRequest", anycast),
            ("Trial", "TrialView", anycast),
            ("FleetList", "FleetList", anycast),
            ("FleetPop", "FleetPop", anycast),
            ("Group", "GroupView", anycast),
            ("GroupPop", "GroupPop", anycast),
            ("LevelRequest", "LevelRequest", anycast),
            ("Plan", "Plan", permits),
            ("Interlock", "InterlockView", anycast),
            ("InterlockRequest", "InterlockState", group),
            ("GeoNode", "FollowerView", following),
            ("DnsAnswer", "DnsAnswer", geo),
            ("Catchment", "CatchmentView", anycast),
            ("CatchmentPrefix", "CatchmentPrefix", anycast),
            ("Withdrawal", "WithdrawalView", anycast),
            ("Landing", "Landing", anycast),
            ("ZoneList", "ZoneList", geo),
            ("Zone", "ZoneView", geo),
            ("ZoneAtNode", "ZoneAtNode", geo),
            ("ZoneSilence", "ZoneSilence", geo),
            ("ZoneContent", "ZoneContent", geo),
            ("SigningList", "SigningList", geo),
            ("NodeSigning", "NodeSigning", geo),
            ("RollRequest", "RollRequest", geo),
            ("Roll", "RollView", geo),
            ("HoldRequest", "HoldRequest", geo),
            ("Hold", "HoldView", geo),
            ("Freeze", "Freeze", freeze),
            ("PopHealth", "HealthPop", anycast),
            ("Top", "TopView", model),
            ("TopItem", "TopItem", model),
            ("HealthChange", "HealthChange", anycast),
            ("NodeHealth", "HealthNode", anycast),
        ] {
            let (_, listed) = BODIES.iter().find(|(known, _)| *known == body).expect(body);
            let listed: BTreeSet<_> =
                listed.iter().map(|field| field.name.trim_end_matches('?').to_owned()).collect();
            assert_eq!(listed, fields(source, name), "{body}");
        }
    }
}
