//! The phases of an exchange as Pingora calls them: each gathers what a file of this folder needs, and calls it.
//!
//! Invariant: nothing is decided here.

use async_trait::async_trait;
use http::header;
use pingora::{
    Error, ErrorSource, Result,
    cache::{
        CacheKey, CacheMeta, CacheOptionOverrides, ForcedFreshness, HitHandler, RespCacheable,
        key::HashBinary,
    },
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

use super::{
    access_log,
    edge_proxy::{EdgeProxy, Parts, is_repeatable},
    exchange::Exchange,
    failure,
    fill::{self, Circumstances},
    lookup, respond,
    storage::{Admission, Lookup, stale_forever},
    upstream_request,
};
use crate::{
    cache::{freshness::Unstorable, reuse::Reuse, variance},
    error::{Failure, classify},
    listener::Downstream,
};

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(self.now())
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<()> {
        // Or the first client's speed would be the speed of the fill for all.
        session.set_proxy_tasks_enabled(true);
        exchange.is_background = session.is_subrequest();
        exchange.downstream = Some(Downstream::of(session.as_downstream()));
        exchange.id = format!("{:032x}", rand::random::<u128>());
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        self.arrive(session, exchange).await.map_err(Failure::raise)?;
        Ok(false)
    }

    fn request_cache_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        let Some(route) = exchange.route.as_ref().filter(|_| exchange.pass.is_none()) else {
            return Ok(());
        };
        let mut waits = CacheOptionOverrides::default();
        waits.wait_timeout = Some(self.parts.cache.collapse_wait_max);
        session.cache.enable(
            self.parts.adapter,
            None,
            Some(self.predictor),
            Some(self.lock),
            Some(waits),
        );
        let bytes_max =
            fill::bytes_max(&route.property().cache, self.parts.cache.object_max.as_u64());
        session.cache.set_max_file_size_bytes(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        Ok(())
    }

    fn cache_key_callback(&self, _session: &Session, exchange: &mut Exchange) -> Result<CacheKey> {
        let route = exchange.route.as_ref().ok_or_else(|| Failure::INTERNAL.raise())?;
        let mut key = CacheKey::new(Vec::new(), "");
        key.set_primary_bin_override(route.key.0);
        Ok(key)
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        exchange: &mut Exchange,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        let route = exchange.route.as_ref()?;
        match variance::Varies::of(meta.headers()) {
            variance::Varies::By(vary) => {
                Some(vary.select(&request.headers, &route.property().cache.vary))
            }
            variance::Varies::No | variance::Varies::Any => None,
        }
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        meta: &CacheMeta,
        _reader: &mut HitHandler,
        _is_fresh: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<ForcedFreshness>> {
        let Some(found) = meta.extensions().get::<Lookup>() else {
            return Ok(Some(ForcedFreshness::ForceMiss));
        };
        let Parts { adapter, lease, cache, .. } = &self.parts;
        let reuse = lookup::judge(found, exchange, adapter, lease, cache, self.now());
        let forced = lookup::forced(reuse, exchange.is_background);
        if reuse == Reuse::Refetch {
            adapter.remove(session.cache.cache_key(), found);
        }
        Ok(Some(forced))
    }

    fn should_serve_stale(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        error: Option<&Error>,
    ) -> bool {
        let Some(error) = error else { return lookup::may_serve_stale(exchange, false) };
        let answer = match error.etype() {
            pingora::ErrorType::HTTPStatus(status) if exchange.forward.current.is_some() => {
                Some(*status)
            }
            _ => None,
        };
        let will_ask_another = answer.is_some()
            && self.upstreams.has_alternative(&exchange.forward)
            && is_repeatable(session);
        let is_served = !will_ask_another
            && error.esource() == &ErrorSource::Upstream
            && lookup::may_serve_stale(exchange, true);
        exchange.forward.is_stale_on_error |= is_served;
        if let (true, Some(status), Some(route)) = (is_served, answer, exchange.route.clone()) {
            exchange.forward.status = Some(status);
            self.upstreams.failed(&route, &mut exchange.forward, "status", false);
        }
        is_served
    }

    async fn proxy_upstream_filter(
        &self,
        _session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<bool> {
        if exchange.only_if_cached && !exchange.is_background {
            return Err(Failure::NOT_STORED.raise());
        }
        exchange.born = self.born(exchange.route.as_ref());
        exchange.forward.asked_at = Some(self.now());
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        let Some(route) = &exchange.route else { return Err(Failure::INTERNAL.raise()) };
        let peer = self.upstreams.next(route, &mut exchange.forward).await;
        peer.map(Box::new).map_err(Failure::raise)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(route) = exchange.route.clone() {
            error.as_up();
            let kind = classify(&error).kind;
            // Nothing was sent yet, so that any request may go elsewhere.
            error.set_retry(self.upstreams.failed(&route, &mut exchange.forward, kind, true));
        }
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Exchange,
        is_reused: bool,
    ) -> Box<Error> {
        if error.esource() != &ErrorSource::Upstream || exchange.forward.current.is_none() {
            return error;
        }
        self.upstream_failed(session, exchange, error, is_reused)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let Some(route) = &exchange.route else { return Err(Failure::INTERNAL.raise()) };
        let node = self.node(Some(&route.policy));
        if lookup::must_not_confirm(exchange) {
            request.remove_header(&header::IF_NONE_MATCH);
            request.remove_header(&header::IF_MODIFIED_SINCE);
        }
        upstream_request::rewrite(request, exchange, route, &node, &self.parts.lease, self.now())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(());
        }
        exchange.forward.status = Some(response.status.as_u16());
        exchange.forward.cache_status =
            response.headers.get(tidegate_contract::header::CACHE_STATUS).cloned();
        if response.status == http::StatusCode::NOT_MODIFIED {
            exchange.forward.confirmation = Some(response.headers.clone());
        }
        self.fail_over(session, response, exchange)
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<RespCacheable> {
        let now = self.now();
        let Some(route) = &exchange.route else { return Err(Failure::INTERNAL.raise()) };
        let circumstances = Circumstances {
            route,
            is_authorized: session.req_header().headers.contains_key(header::AUTHORIZATION),
            born: exchange.born,
            asked_at: exchange.forward.asked_at.unwrap_or(exchange.began_at),
            now,
            bytes_max: self.parts.cache.object_max.as_u64(),
        };
        let confirmation = exchange.forward.confirmation.as_ref();
        let headers = confirmation.map(|new| fill::confirm(&response.headers, new));
        let headers = headers.as_ref().unwrap_or(&response.headers);
        let head = match fill::admit(response.status, headers, &circumstances) {
            Ok(head) => head,
            Err(reason) => return Ok(self.unstorable(exchange, reason)),
        };
        // A confirmed response has its body already.
        let length = confirmation.map_or(head.length, |_| None);
        let Some(room) = self.parts.adapter.store().reserve(length) else {
            return Ok(self.unstorable(exchange, Unstorable::NoRoom));
        };
        exchange.stored = Some(head.freshness);
        let mut meta = stale_forever(now, head.response_header());
        meta.extensions_mut().insert(Admission::new(head, room));
        Ok(RespCacheable::Cacheable(meta))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(());
        }
        let status = Self::cache_status(session, exchange);
        let node = self.node(exchange.route.as_ref().map(|route| &*route.policy));
        let alt_svc = self.parts.alt_svc.as_deref();
        respond::rewrite(response, exchange, status, &node, alt_svc, self.now())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        let failure = classify(error);
        let node = self.node(exchange.route.as_ref().map(|route| &*route.policy));
        failure::answer(session, exchange, failure, &node).await;
        FailToProxy { error_code: failure.status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        let status = Self::cache_status(session, exchange);
        let failure = error.map(classify);
        if !exchange.is_background {
            access_log::count(session, exchange, status, failure, &self.parts.metrics);
        }
        if self.parts.has_access_log {
            access_log::write(session, exchange, status, failure);
        }
        if let Some(error) = error {
            tracing::debug!(request_id = exchange.id, %error, "exchange failed");
        }
        if let Some(route) = exchange.route.clone() {
            self.upstreams.ended(&route, &mut exchange.forward);
        }
    }

    fn request_summary(&self, session: &Session, exchange: &Exchange) -> String {
        let request = session.req_header();
        // Pingora would write the query, which may be signed.
        format!("{} {} {}", request.method, request.uri.path(), exchange.id)
    }

    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true // the access log has it
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Exchange,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true // counted in `upstream`
    }
}
