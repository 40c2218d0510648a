//! The JSON of the API, as the server writes it and the command line reads it.
//!
//! Fields are only ever added. Times are milliseconds since 1970.

mod releases;
mod purges;
mod resources;
mod pops;
mod top;
mod authority;
mod questions;

pub use self::{
    authority::{AuthorityItem, AuthorityView, ReplicaView, RotationRequest},
    pops::{
        EnrolmentTokenView, HealthView, NackView, NodeOrderRequest, NodeOrderView, NodeView,
        PopList, PopRequest, PopView, pop_path,
    },
    purges::{
        PurgeLagList, PurgeLagView, PurgeLimitView, PurgeList, PurgeNodeView, PurgePlanPop,
        PurgePlanView, PurgeRequest, PurgeView, ReplacementView, Wait,
    },
    questions::{CheckList, LogList, NodeCheckView, NodeLogView, RevokedView},
    releases::{
        ReleaseAnswer, ReleaseNodeView, ReleaseView, RollbackRequest, RolloutView, StatusView,
    },
    resources::{
        ChangeRequest, ChangeSetView, ChangeView, Items, PropertyList, PropertyView,
        PublishRequest, ResourceView, StepView, property_path,
    },
    top::{TopItem, TopView},
};
