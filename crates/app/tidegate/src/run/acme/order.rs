//! One order: the account, the challenges, the certificate, its files.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use http_door::challenges::{Challenges, Offered};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use model::configuration::{Acme, AcmeChallenge};

/// How long the authority may take to look at the challenges, and to sign.
const PATIENCE: Duration = Duration::from_secs(120);

/// Obtains the certificate of `acme` and puts it into its files.
///
/// # Errors
/// Whatever the authority, the network or the disk says; the files are as before then.
pub(super) async fn order(acme: &Acme, challenges: &Arc<Challenges>) -> anyhow::Result<()> {
    let account = account(acme).await.context("the account")?;
    let hosts: Vec<Identifier> =
        acme.hosts.iter().map(|host| Identifier::Dns(host.to_string())).collect();
    let mut order = account.new_order(&NewOrder::new(&hosts)).await.context("the order")?;
    let policy = RetryPolicy::new().timeout(PATIENCE);
    // The answers are given until the authority has looked.
    let offered = answer(acme, challenges, &mut order).await?;
    let status = order.poll_ready(&policy).await.context("the challenges")?;
    drop(offered);
    ensure!(status == OrderStatus::Ready, "the authority says that the order is {status:?}");
    let key = order.finalize().await.context("the certificate was asked for")?;
    let chain = order.poll_certificate(&policy).await.context("the certificate")?;
    let files = acme.files.clone();
    tokio::task::spawn_blocking(move || net::tls::store(&files, &chain, &key)).await??;
    Ok(())
}

/// Offers an answer to each challenge, and asks the authority to look.
async fn answer(
    acme: &Acme,
    challenges: &Arc<Challenges>,
    order: &mut Order,
) -> anyhow::Result<Vec<Offered>> {
    let mut offered = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.context("an authorization")?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated => {
                bail!("the authority says that an authorization is {:?}", authorization.status)
            }
        }
        let kind = match acme.challenge {
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let mut challenge = authorization
            .challenge(kind)
            .context("the authority does not offer the challenge that is configured")?;
        offered.push(offer(acme.challenge, challenges, &challenge)?);
        challenge.set_ready().await.context("a challenge")?;
    }
    Ok(offered)
}

fn offer(
    kind: AcmeChallenge,
    challenges: &Arc<Challenges>,
    challenge: &ChallengeHandle<'_>,
) -> anyhow::Result<Offered> {
    let proof = challenge.key_authorization();
    match kind {
        AcmeChallenge::Http01 => Ok(challenges.offer_text(&challenge.token, proof.as_str())),
        AcmeChallenge::TlsAlpn01 => {
            let host = challenge.identifier().to_string();
            let digest: [u8; 32] = proof.digest().as_ref().try_into().context("a SHA-256")?;
            Ok(challenges.offer_handshake(&host, net::tls::challenge(&host, digest)?))
        }
    }
}

/// The account of this directory and contact, which is made where there is none yet.
async fn account(acme: &Acme) -> anyhow::Result<Account> {
    let contact = acme.contact.as_deref();
    let known_by = format!("{} {}", acme.directory, contact.unwrap_or_default());
    let path = acme.folder.join(format!("account-{}.json", settings::version(&known_by)));
    let roots = acme.roots.clone();
    let (text, builder) = tokio::task::spawn_blocking({
        let path = path.clone();
        move || {
            let builder = match roots {
                Some(roots) => Account::builder_with_root(roots),
                None => Account::builder(),
            };
            (std::fs::read(&path), builder)
        }
    })
    .await?;
    let builder = builder?;
    if let Ok(text) = text {
        let credentials: AccountCredentials = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged: move it away", path.display()))?;
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contacts: Vec<&str> = contact.into_iter().collect();
    let new = NewAccount {
        contact: &contacts,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder.create(&new, acme.directory.to_string(), None).await?;
    let text = serde_json::to_vec(&credentials)?;
    tokio::task::spawn_blocking(move || net::tls::write_private(&path, &text)).await??;
    Ok(account)
}
