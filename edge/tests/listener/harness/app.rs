//! The proxy behind the listener: Pingora's, with its in-memory cache for paths below `/cached/`.
//!
//! It adds what the listener knows of the client to every response, so that stories can see it.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::Result;
use pingora::cache::lock::CacheLock;
use pingora::cache::{CacheKey, CacheMeta, MemCache, RespCacheable};
use pingora::http::ResponseHeader;
use pingora::proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tidegate_edge::listener::Downstream;

static CACHE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
static LOCK: LazyLock<CacheLock> = LazyLock::new(|| CacheLock::new(Duration::from_secs(10)));

pub(crate) fn proxy_to(origin: SocketAddr) -> Arc<HttpProxy<SmallProxy>> {
    Arc::new(http_proxy(&Arc::new(ServerConf::default()), SmallProxy { origin }))
}

pub(crate) struct SmallProxy {
    origin: SocketAddr,
}

#[async_trait]
impl ProxyHttp for SmallProxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        session.set_proxy_tasks_enabled(true);
        Ok(())
    }

    fn request_cache_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        if session.req_header().uri.path().starts_with("/cached/") {
            session.cache.enable(&*CACHE, None, None, Some(&*LOCK), None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, (): &mut ()) -> Result<CacheKey> {
        // The cache outlives one story, the origin's port does not.
        Ok(CacheKey::new(format!("{}{}", self.origin, session.req_header().uri), ""))
    }

    fn response_cache_filter(
        &self,
        _session: &Session,
        response: &ResponseHeader,
        (): &mut (),
    ) -> Result<RespCacheable> {
        let now = SystemTime::now();
        let fresh = now + Duration::from_secs(60);
        Ok(RespCacheable::Cacheable(CacheMeta::new(fresh, now, 0, 0, response.clone())))
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> Result<()> {
        let downstream = Downstream::of(session.as_downstream());
        response.insert_header("x-protocol", downstream.protocol.as_str())?;
        response.insert_header("x-client", downstream.client.to_string())?;
        response.insert_header("x-tls", downstream.tls.to_string())?;
        response.insert_header("x-early", downstream.early_data.to_string())?;
        Ok(())
    }
}
