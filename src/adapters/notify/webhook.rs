//! `[notify] webhook`: each notice as a JSON document in a POST. `X-Rig-Delivery` is its id, the same in every repeat;
//! `X-Rig-Signature` is `sha256=` and the HMAC-SHA256 of the body in hex, when the project names a secret.

use super::news;
use crate::ports::chat::{ChatError, ChatResult, Content, Sender};
use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{StatusCode, header::RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::{fmt::Write, time::Duration};

pub struct Webhook {
    client: reqwest::Client,
    url: String,
    secret: Option<SecretString>,
}

impl Webhook {
    pub fn new(url: &str, secret: Option<SecretString>, timeout: Duration) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rig/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("the webhook cannot be used: {error}"))?;
        Ok(Self { client, url: url.to_owned(), secret })
    }
}

/// Returns the signature of a body.
fn signature(secret: &SecretString, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of every length");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[async_trait]
impl Sender for Webhook {
    async fn send(&self, id: &str, content: &Content) -> ChatResult<String> {
        let body = news(content)?.to_string().into_bytes();
        let mut request = self
            .client
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("X-Rig-Event", "notice")
            .header("X-Rig-Delivery", id);
        if let Some(secret) = &self.secret {
            request = request.header("X-Rig-Signature", signature(secret, &body));
        }
        // The address may hold a secret of its own, so it is in no message.
        let answer = request.body(body).send().await.map_err(|error| ChatError::Unavailable {
            message: format!("the webhook cannot be reached: {}", error.without_url()),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(String::new());
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            return Err(ChatError::Limited { retry_after: after.map(Duration::from_secs) });
        }
        // It may know the message tomorrow: a wrong path or token is mended on its side.
        Err(ChatError::Unavailable { message: format!("the webhook answers {status}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let secret = SecretString::from("Jefe");
        assert_eq!(
            signature(&secret, b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[tokio::test]
    async fn a_notice_is_posted_with_its_id_and_its_signature() {
        let server = MockServer::start().await;
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
        let secret = SecretString::from("a key");
        let webhook = Webhook::new(&server.uri(), Some(secret.clone()), Duration::from_secs(5)).unwrap();
        webhook.send("id-1", &Content::News { news: json!({ "text": "hello" }) }).await.unwrap();
        let request = &server.received_requests().await.unwrap()[0];
        assert_eq!(request.headers["x-rig-delivery"], "id-1");
        assert_eq!(request.headers["x-rig-signature"], signature(&secret, &request.body).as_str());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&request.body).unwrap()["text"], "hello");
    }

    #[tokio::test]
    async fn what_a_webhook_refuses_waits_and_a_limit_is_obeyed() {
        let server = MockServer::start().await;
        let limited = ResponseTemplate::new(429).insert_header("Retry-After", "7");
        Mock::given(method("POST")).respond_with(limited).up_to_n_times(1).mount(&server).await;
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
        let webhook = Webhook::new(&format!("{}/secret-path", server.uri()), None, Duration::from_secs(5)).unwrap();
        let news = Content::News { news: json!({}) };
        let first = webhook.send("id", &news).await;
        assert!(
            matches!(&first, Err(ChatError::Limited { retry_after: Some(after) }) if after.as_secs() == 7),
            "{first:?}"
        );
        let second = webhook.send("id", &news).await.unwrap_err().to_string();
        assert!(second.contains("500"), "{second}");
        drop(server);
        let gone = Webhook::new("http://127.0.0.1:1/secret-path", None, Duration::from_secs(5)).unwrap();
        let third = gone.send("id", &news).await.unwrap_err().to_string();
        assert!(!third.contains("secret-path"), "{third}");
    }
}
