//! Answers that pages from elsewhere may read (`api.cors`).

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use crate::config::{CorsConfig, Origins};

/// How long a browser need not ask again.
const MAX_AGE: std::time::Duration = std::time::Duration::from_mins(10);

/// What pages may read beside the usual.
const EXPOSED: [HeaderName; 7] = [
    HeaderName::from_static("x-request-id"),
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

fn layer(config: &CorsConfig) -> CorsLayer {
    let origins = match &config.origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Listed(all) => AllowOrigin::list(all.iter().filter_map(|origin| HeaderValue::try_from(origin).ok())),
    };
    let methods = config.methods.clone().map_or_else(AllowMethods::mirror_request, AllowMethods::list);
    let headers = config.headers.clone().map_or_else(AllowHeaders::mirror_request, AllowHeaders::list);
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(methods)
        .allow_headers(headers)
        .allow_credentials(config.credentials)
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE)
}

/// `inner`, for pages from elsewhere too. What a browser asks beforehand is answered here, without a key; an
/// `OPTIONS` of anybody else is the router's.
pub fn around(inner: Router, config: &CorsConfig) -> Router {
    let layered = layer(config).layer(inner.clone());
    Router::new().fallback_service(service_fn(move |request: Request<Body>| {
        let asks_beforehand = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let plain = (request.method() == Method::OPTIONS && !asks_beforehand).then(|| inner.clone());
        let layered = layered.clone();
        async move {
            let response = match plain {
                Some(inner) => inner.oneshot(request).await?,
                None => layered.oneshot(request).await?.map(Body::new),
            };
            Ok::<_, Infallible>(response)
        }
    }))
}
