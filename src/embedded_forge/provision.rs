//! Making what a first run needs without going through HTTP: accounts with tokens, repositories, collaborators. Each may be
//! repeated: what is there stays as it is.

use super::{
    accounts::{self, Account},
    auth,
    error::{ApiError, ApiResult},
    repositories::{self, NewRepository, Repository},
    server::{ForgeServerError, Running},
    state::Forge,
};
use sqlx::SqliteConnection;

/// The name of the account that the first start makes.
const ADMIN: &str = "forge-admin";
/// The name of the token that the first start makes for it.
const FIRST_START: &str = "first start";

/// What a repository is made with.
#[derive(Debug, Clone, Copy)]
enum Init {
    Readme,
    Empty,
}

/// Makes the administrator when there is none. Returns its token, once.
pub(super) async fn first_admin(forge: &Forge) -> ApiResult<Option<String>> {
    let mut db = forge.store.write().await?;
    let admins: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM accounts WHERE is_admin").fetch_one(&mut *db).await?;
    if admins > 0 {
        return Ok(None);
    }
    let id = accounts::insert(&mut db, ADMIN, "forge-admin@noreply.localhost", "", false).await?;
    sqlx::query("UPDATE accounts SET is_admin = 1 WHERE id = ?1").bind(id).execute(&mut *db).await?;
    let token = token(&mut db, id, FIRST_START).await?;
    db.commit().await?;
    Ok(Some(token))
}

impl Running {
    /// Returns a new token of the administrator, in place of the one made so before.
    pub async fn admin_token(&self) -> Result<String, ForgeServerError> {
        Ok(self.user_token(ADMIN).await?)
    }

    /// Makes the user if it is missing. Returns a new token with all scopes; the one made so before no longer counts.
    pub async fn ensure_user(&self, name: &str) -> Result<String, ForgeServerError> {
        self.make_user(name).await?;
        Ok(self.user_token(name).await?)
    }

    /// Makes the user if it is missing, and a token with all scopes if it has none. Returns the token only then.
    pub async fn new_user(&self, name: &str) -> Result<Option<String>, ForgeServerError> {
        self.make_user(name).await?;
        let mut db = self.forge.store.write().await?;
        let account = Account::named(&mut db, name).await?;
        let query = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE account = ?1");
        let tokens: i64 = query.bind(account.id).fetch_one(&mut *db).await?;
        if tokens > 0 {
            return Ok(None);
        }
        let token = token(&mut db, account.id, "rig").await?;
        db.commit().await?;
        Ok(Some(token))
    }

    /// Returns a new token of a user who is there, in place of the ones that starts made before: a lost one no longer counts.
    pub async fn new_token(&self, name: &str) -> Result<String, ForgeServerError> {
        let mut db = self.forge.store.write().await?;
        if !exists(&mut db, name).await? {
            return Err(ForgeServerError::Refused(format!("no user is called `{name}`")));
        }
        let account = Account::named(&mut db, name).await?;
        let query = sqlx::query("DELETE FROM tokens WHERE account = ?1 AND name = ?2");
        query.bind(account.id).bind(FIRST_START).execute(&mut *db).await?;
        let token = token(&mut db, account.id, "rig").await?;
        db.commit().await?;
        Ok(token)
    }

    /// Makes the repository, with a first commit, if it is missing, and its owner if that is missing. Returns whether it was.
    pub async fn ensure_repository(&self, owner: &str, name: &str) -> Result<bool, ForgeServerError> {
        self.make_repository(owner, name, Init::Readme).await
    }

    /// The same without a first commit.
    pub async fn ensure_empty_repository(&self, owner: &str, name: &str) -> Result<bool, ForgeServerError> {
        self.make_repository(owner, name, Init::Empty).await
    }

    /// Lets the user write to the repository (`permission`: read, write or admin).
    pub async fn ensure_collaborator(
        &self,
        owner: &str,
        name: &str,
        user: &str,
        permission: &str,
    ) -> Result<(), ForgeServerError> {
        let permission = repositories::Permission::parse(permission)
            .ok_or_else(|| ForgeServerError::Refused(format!("no permission is called {permission}")))?;
        let mut db = self.forge.store.write().await?;
        let repository = Repository::named(&mut db, owner, name).await?;
        let account = Account::named(&mut db, user).await?;
        if account.id != repository.owner_id {
            super::collaborators::set(&mut db, repository.id, account.id, permission).await?;
        }
        Ok(db.commit().await?)
    }

    async fn make_user(&self, name: &str) -> ApiResult<bool> {
        let mut db = self.forge.store.write().await?;
        if exists(&mut db, name).await? {
            return Ok(false);
        }
        accounts::insert(&mut db, name, &format!("{name}@noreply.localhost"), "", false).await?;
        db.commit().await?;
        Ok(true)
    }

    async fn user_token(&self, name: &str) -> ApiResult<String> {
        let mut db = self.forge.store.write().await?;
        let account = Account::named(&mut db, name).await?;
        let token = token(&mut db, account.id, "rig").await?;
        db.commit().await?;
        Ok(token)
    }

    async fn make_repository(&self, owner: &str, name: &str, init: Init) -> Result<bool, ForgeServerError> {
        self.make_user(owner).await?;
        let owner = Account::named(&mut *self.forge.store.read().await?, owner).await?;
        let there = Repository::named(&mut *self.forge.store.read().await?, &owner.name, name).await;
        if there.is_ok() {
            return Ok(false);
        }
        let auto_init = Some(matches!(init, Init::Readme));
        let new = NewRepository { name: name.to_owned(), auto_init, ..NewRepository::default() };
        repositories::create(&self.forge, &owner, &new).await?;
        Ok(true)
    }
}

async fn exists(db: &mut SqliteConnection, name: &str) -> ApiResult<bool> {
    let query = sqlx::query_scalar("SELECT COUNT(*) FROM accounts WHERE name = ?1");
    let count: i64 = query.bind(name).fetch_one(db).await.map_err(ApiError::from)?;
    Ok(count > 0)
}

async fn token(db: &mut SqliteConnection, account: i64, name: &str) -> ApiResult<String> {
    let query = sqlx::query("DELETE FROM tokens WHERE account = ?1 AND name = ?2");
    query.bind(account).bind(name).execute(&mut *db).await?;
    auth::make_token(db, account, name, &["all".to_owned()]).await.map(|(_, token)| token)
}
