//! What Prometheus reads, over HTTP on loopback. Numbers and codes, and no names of users, hosts or secrets.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use password_verify_core::keeper::schedule::Outcome;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How many may ask at once, and how long one may take.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);

/// Counters and gauges.
pub struct Metrics {
    registry: Registry,
    jobs: Family<Vec<(&'static str, &'static str)>, Counter>,
    seconds: Histogram,
    pub results: Counter,
    pub running: Gauge,
    pub resting: Gauge,
    /// 1 if the last call was answered.
    pub database_up: Gauge,
    pub last_take: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pv_keeper");
        // From 10 ms to 5 minutes.
        let seconds = Histogram::new(exponential_buckets(0.01, 2.0, 16));
        let jobs = Family::default();
        let (results, running, resting) = (Counter::default(), Gauge::default(), Gauge::default());
        let (database_up, last_take) = (Gauge::default(), Gauge::default());
        registry.register("jobs", "Jobs that have ended, by outcome and detail", jobs.clone());
        registry.register("job_seconds", "How long jobs took", seconds.clone());
        registry.register("results", "Results that were delivered", results.clone());
        registry.register("jobs_running", "Jobs that are leased now", running.clone());
        registry.register("routes_resting", "Ways to hosts left alone now", resting.clone());
        registry.register("database_up", "Does the database answer?", database_up.clone());
        registry.register(
            "last_take_timestamp_seconds",
            "When the database last said whether there is a job",
            last_take.clone(),
        );
        Self { registry, jobs, seconds, results, running, resting, database_up, last_take }
    }

    /// A job has ended.
    pub fn ended(&self, outcome: Outcome, detail: &'static str, took: Duration) {
        let labels = vec![("outcome", outcome.as_str()), ("detail", detail)];
        self.jobs.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    fn text(&self) -> Option<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry).ok().map(|()| text)
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let asked = request.method() == Method::GET && request.uri().path() == "/metrics";
        let (status, text) = match self.text().filter(|_| asked) {
            Some(text) => (StatusCode::OK, text),
            None => (StatusCode::NOT_FOUND, String::new()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    }
}

/// Answers for as long as the keeper runs.
pub async fn serve(metrics: Arc<Metrics>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, for example.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = metrics.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).keep_alive(false);
            let _ = timeout(PATIENCE, server.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.ended(Outcome::Retry, "timeout", Duration::from_millis(20));
        let text = metrics.text().unwrap();
        assert!(
            text.contains("pv_keeper_jobs_total{outcome=\"retry\",detail=\"timeout\"} 1"),
            "{text}"
        );
        assert!(text.contains("pv_keeper_job_seconds_count 1"), "{text}");
        let ask = |path: &str| metrics.answer(&Request::get(path).body(()).unwrap()).status();
        assert_eq!(ask("/metrics"), StatusCode::OK);
        assert_eq!(ask("/"), StatusCode::NOT_FOUND);
    }
}
