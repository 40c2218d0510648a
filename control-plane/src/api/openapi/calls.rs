//! Every call of the API: method, path, what it does, which scope it needs, what goes in and what comes out.
//!
//! One line a call, in the order of paths; a test finds the one that is missing.

/// One call.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// A scope; `any` for every token, `none` for no token at all.
    pub(super) scope: &'static str,
    /// Names and types of the query.
    pub(super) query: &'static [(&'static str, &'static str)],
    /// The body that is sent; empty for none.
    pub(super) body: &'static str,
    /// The status of the answer that is hoped for.
    pub(super) status: u16,
    /// The body of the answer; empty for none, or a media type.
    pub(super) answer: &'static str,
}

const fn get(path: &'static str, summary: &'static str, answer: &'static str) -> Call {
    let (method, scope) = ("get", "read");
    Call { method, path, summary, scope, query: &[], body: "", status: 200, answer }
}

const fn change(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    scope: &'static str,
    body: &'static str,
    answer: &'static str,
) -> Call {
    Call { method, path, summary, scope, query: &[], body, status: 200, answer }
}

impl Call {
    const fn asks(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    const fn answers(self, status: u16) -> Self {
        Self { status, ..self }
    }

    const fn for_scope(self, scope: &'static str) -> Self {
        Self { scope, ..self }
    }
}

const PAGE: &[(&str, &str)] = &[("after", "integer"), ("limit", "integer")];
const DRY: &[(&str, &str)] = &[("dry_run", "boolean")];

/// The calls.
#[rustfmt::skip]
pub(super) const CALLS: &[Call] = &[
    get("/", "The status page", "text/html").for_scope("none"),
    get("/status.css", "Its style", "text/css").for_scope("none"),
    get("/status.js", "Its script", "text/javascript").for_scope("none"),
    get("/v1/openapi.json", "This document", "any").for_scope("none"),
    get("/v1/status", "What the status page shows; without a token where the configuration says so", "Status"),
    get("/v1/whoami", "Who the token is, and what it may do", "Whoami").for_scope("any"),
    change("post", "/v1/can-i", "Whether the token may", "any", "CanIRequest", "CanI"),
    get("/v1/tokens", "Every API token, without its secret", "Items of Token"),
    change("post", "/v1/tokens", "Make an API token; its text stands in this answer alone", "token:write", "TokenRequest", "Token").answers(201),
    change("delete", "/v1/tokens/{id}", "Make a token worthless; one's own needs no scope", "token:write", "", "").answers(204),
    get("/v1/roles", "Every role", "Items of Role"),
    change("put", "/v1/roles/{name}", "Make or replace a role", "token:write", "Role", "Role"),
    change("delete", "/v1/roles/{name}", "Delete a role", "token:write", "", "").answers(204),
    get("/v1/approvals", "What waits for a second person, newest first", "Items of Approval"),
    change("post", "/v1/approvals/{id}/approve", "Let somebody else do what they asked for, once; a dry run answers what would be decided on", "approve", "", "Approval").asks(DRY),
    change("post", "/v1/approvals/{id}/reject", "Say no", "approve", "", "Approval").asks(DRY),
    get("/v1/audit", "The audit log, in order", "AuditList").asks(PAGE),
    get("/v1/audit/verify", "Check the audit log's chain", "AuditVerdict").asks(PAGE),
    get("/v1/replicas", "Which replicas live, and which leads", "Items of Replica"),
    change("post", "/v1/backup", "The state as one SQLite file, without the key files", "backup", "", "application/vnd.sqlite3"),
    get("/v1/authority", "Whose certificates count, and how far a rotation is", "Authority"),
    change("post", "/v1/authority/rotation", "Make a step from one authority to the next; a dry run says whether it could be made", "ca:write", "RotationRequest", "Authority").asks(DRY),
    get("/v1/purges", "The purge log, in order", "PurgeList").asks(PAGE),
    change("post", "/v1/purges", "Order a purge; durable when it is answered. A dry run answers a PurgePlan, and takes nothing from a limit", "purge", "PurgeRequest", "Purge").asks(DRY).answers(202),
    get("/v1/purges/lag", "How far each PoP and node is behind the purge log", "any"),
    get("/v1/purges/{id}", "How far a purge is", "Purge"),
    get("/v1/pops", "Every PoP and its nodes", "PopList"),
    get("/v1/pops/{pop}", "One PoP and its nodes", "Pop"),
    change("put", "/v1/pops/{pop}", "Make or change a PoP", "pop:write", "PopRequest", "Change").asks(DRY),
    change("delete", "/v1/pops/{pop}", "Remove a PoP with its nodes; a dry run answers Revoked, with the nodes", "pop:write", "", "Change").asks(DRY),
    change("post", "/v1/pops/{pop}/enrolment-tokens", "Make a token that enrols one node, once", "pop:write", "", "EnrolmentToken").answers(201),
    get("/v1/pops/{pop}/log", "The newest lines of the nodes' own logs; with `after`, those behind a place in each", "LogList").for_scope("node:logs").asks(&[("node", "string"), ("since_unix_ms", "integer"), ("level", "string"), ("match", "string"), ("limit", "integer"), ("after", "string"), ("deadline", "string")]),
    get("/v1/pops/{pop}/check", "Every node looks at itself, and says what it found", "CheckList").asks(&[("node", "string"), ("deadline", "string")]),
    change("delete", "/v1/pops/{pop}/nodes", "Make the identities of all nodes of a PoP worthless, and the tokens that would enrol others; a dry run lists the nodes", "pop:write", "", "Revoked").asks(DRY),
    change("delete", "/v1/pops/{pop}/nodes/{node}", "Remove a node; its identity is worthless. A dry run answers Revoked", "pop:write", "", "").asks(DRY).answers(204),
    get("/v1/pops/{pop}/nodes/{node}/order", "The last order to a node, and how far it is", "NodeOrder"),
    change("post", "/v1/pops/{pop}/nodes/{node}/order", "Restart a node, or take its release back; a dry run says what would happen", "node:write", "NodeOrderRequest", "NodeOrder").asks(DRY).answers(202),
    get("/v1/pops/{pop}/drain", "How far a drain is", "Drain"),
    change("post", "/v1/pops/{pop}/drain", "Empty a PoP in stages; a dry run answers a list of plans", "pop:drain", "DrainRequest", "Drain").asks(DRY).answers(202),
    change("delete", "/v1/pops/{pop}/drain", "Let a PoP come back, slowly", "pop:drain", "", "Drain").asks(&[("slow_start", "string"), ("dry_run", "boolean")]),
    change("post", "/v1/pops/{pop}/speaker-trial", "Try the speaker's configuration, or confirm the one that is tried", "bgp:write", "TrialRequest", "Trial"),
    get("/v1/fleet", "Whom clients are answered with: every PoP's place, state and share", "FleetList").asks(&[("reader", "string"), ("seen", "integer")]),
    get("/v1/anycast", "Every anycast group", "Items of Group"),
    get("/v1/anycast/{group}", "One group: what each PoP is told and announces", "Group"),
    change("post", "/v1/anycast/{group}/level", "Set what a PoP announces", "bgp:write", "LevelRequest", "Plan").asks(DRY),
    get("/v1/anycast/{group}/interlock", "What is never done to a group", "Interlock"),
    change("put", "/v1/anycast/{group}/interlock", "Change that; a dry run answers what would hold", "bgp:write", "InterlockRequest", "Interlock").asks(DRY),
    get("/v1/anycast/{group}/catchment", "From where clients reach which PoP, and where they are expected without it", "Catchment").asks(&[("pop", "string"), ("networks", "integer")]),
    get("/v1/geo/feed", "The fleet, zones, round trips and questions, line by line, for as long as the node stays", "application/x-ndjson").for_scope("geo").asks(&[("node", "string"), ("questions", "integer")]),
    change("post", "/v1/geo/answers/{id}", "What a geo node answers to a question of the feed", "geo", "any", "").answers(204),
    get("/v1/dns/nodes", "The geo nodes that follow this replica", "Items of GeoNode"),
    get("/v1/dns/resolve", "What a client would be told, and why", "DnsAnswer").asks(&[("name", "string"), ("type", "string"), ("client", "string"), ("ecs", "string")]),
    get("/v1/dns/zones", "Every zone: what is released, and what each geo node serves", "ZoneList"),
    get("/v1/dns/zones/{zone}", "The records of a zone that is released", "ZoneContent").asks(&[("type", "string"), ("name", "string")]),
    get("/v1/dns/signing", "Where the keys of signed zones stand, at each geo node", "SigningList").asks(&[("zone", "string")]),
    change("post", "/v1/dns/signing/{zone}/roll", "Take the next step from one key of a zone to the next at all geo nodes, or say when it may be taken; a dry run shows it", "dns:write", "RollRequest", "Roll").asks(DRY),
    get("/v1/steering/manifest", "What a player would be told by content steering, and why", "DnsAnswer").asks(&[("client", "string"), ("asset", "string"), ("policy", "string"), ("pathway", "string")]),
    get("/v1/dns/map", "Which PoP serves how much, by the newest map", "DnsAnswer"),
    get("/v1/dns/map/diff", "How the newest map differs from the one some time ago", "DnsAnswer").asks(&[("ago", "string")]),
    get("/v1/dns/map/hold", "Whether somebody holds the map", "Hold"),
    change("post", "/v1/dns/map/freeze", "Hold the map as it is", "dns:write", "HoldRequest", "Hold"),
    change("post", "/v1/dns/map/thaw", "Let it go on", "dns:write", "HoldRequest", "Hold"),
    get("/v1/health", "How every PoP is, and why", "Items of PopHealth"),
    get("/v1/health-history", "How PoPs were: the newest changes of verdicts, in the order of time", "Items of HealthChange").asks(&[("pop", "string"), ("since_unix_ms", "integer"), ("limit", "integer")]),
    get("/v1/top", "What clients ask for most, over the last minute", "Top").asks(&[("of", "string"), ("by", "string"), ("pop", "string"), ("limit", "integer")]),
    get("/v1/health/{pop}", "How one PoP is, and what its nodes say", "PopHealth"),
    get("/v1/properties", "Every property", "PropertyList"),
    get("/v1/properties/{id}", "One property", "Property"),
    change("put", "/v1/properties/{id}", "Make or replace a property", "config:write", "any", "Change").asks(DRY),
    change("delete", "/v1/properties/{id}", "Delete a property", "config:write", "", "Change").asks(DRY),
    get("/v1/resources/{kind}", "Every resource of a kind, or those whose labels a selector chooses", "Items of Resource").asks(&[("labels", "string")]),
    get("/v1/resources/{kind}/{name}", "One resource", "Resource"),
    change("put", "/v1/resources/{kind}/{name}", "Make or replace a resource, at once", "config:write", "Resource", "Change").asks(DRY),
    change("delete", "/v1/resources/{kind}/{name}", "Delete a resource, at once", "config:write", "", "Change").asks(DRY),
    change("post", "/v1/validate", "What a change-set would do; nothing is kept", "read", "ChangeRequest", "Items of Step"),
    get("/v1/changes", "Every change-set", "Items of ChangeSet"),
    change("post", "/v1/changes", "Draft a change-set", "config:write", "ChangeRequest", "ChangeSet").answers(201),
    get("/v1/changes/{id}", "One change-set and what it would do now", "ChangeSet"),
    change("post", "/v1/changes/{id}/approve", "Approve a change-set", "config:write", "", "ChangeSet"),
    change("post", "/v1/changes/{id}/abandon", "Abandon a change-set", "config:write", "", "ChangeSet"),
    change("post", "/v1/changes/{id}/publish", "Release a change-set", "release:write", "PublishRequest", "ReleaseAnswer"),
    get("/v1/releases", "Every release that is kept", "Items of Release"),
    get("/v1/releases/status", "How far each node is with the newest release", "any"),
    get("/v1/releases/{version}", "One release", "Release"),
    get("/v1/releases/{version}/diff", "What a release changed", "Items of Step").asks(&[("against", "integer")]),
    change("post", "/v1/releases/promote", "Begin the next stage now", "release:write", "", "ReleaseAnswer"),
    change("post", "/v1/releases/pause", "Hold the roll-out", "release:write", "", "ReleaseAnswer"),
    change("post", "/v1/releases/resume", "Go on with the roll-out", "release:write", "", "ReleaseAnswer"),
    change("post", "/v1/releases/rollback", "Release an older state again", "release:write", "RollbackRequest", "ReleaseAnswer"),
];
