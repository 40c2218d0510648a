//! The generated messages and calls of `proto/etcd.proto`, and short ways to write them.
//!
//! Only forms are made here; what is asked and why stands where it is asked.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::pedantic)]
#![allow(clippy::use_self, elided_lifetimes_in_paths)]

use bytes::Bytes;

tonic::include_proto!("etcdserverpb");

/// Asks for one key.
pub(super) fn get(key: &str) -> RangeRequest {
    RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() }
}

/// Asks for keys from one to before another.
pub(super) fn range(from: &str, to: Bytes, limit: i64) -> RangeRequest {
    RangeRequest { range_end: to, limit, ..get(from) }
}

/// The first key behind all that begin with a text.
pub(super) fn prefix_end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    // Keys are ASCII: the last byte is never the greatest one.
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end.into()
}

/// Expects that a key was last changed by a revision; 0: that it is not there.
pub(super) fn unchanged(key: &str, revision: i64) -> Compare {
    Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Mod.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        target_union: Some(compare::TargetUnion::ModRevision(revision)),
    }
}

pub(super) fn put(key: &str, value: impl Into<Bytes>) -> RequestOp {
    put_with_lease(key, value, 0)
}

pub(super) fn put_with_lease(key: &str, value: impl Into<Bytes>, lease: i64) -> RequestOp {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let put = PutRequest { key, value: value.into(), lease };
    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// Removes keys from one to before another; with an empty end one key alone.
pub(super) fn delete(from: &str, to: Bytes) -> RequestOp {
    let key = Bytes::copy_from_slice(from.as_bytes());
    let delete = DeleteRangeRequest { key, range_end: to };
    RequestOp { request: Some(request_op::Request::RequestDeleteRange(delete)) }
}

pub(super) fn op(range: RangeRequest) -> RequestOp {
    RequestOp { request: Some(request_op::Request::RequestRange(range)) }
}

impl TxnResponse {
    /// What the ranges among the operations found, in their order.
    pub(super) fn ranges(self) -> impl Iterator<Item = Vec<KeyValue>> {
        self.responses.into_iter().filter_map(|response| match response.response {
            Some(response_op::Response::ResponseRange(range)) => Some(range.kvs),
            _ => None,
        })
    }

    /// The state's revision after the transaction.
    pub(super) fn revision(&self) -> i64 {
        self.header.as_ref().map_or(0, |header| header.revision)
    }
}
