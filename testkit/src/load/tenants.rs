//! Who may do what in the test: two databases with two resources each, and a token for both and one
//! for all.

use profile_worker::domain::channel::Channel;
use profile_worker::domain::token::Scope;
use profile_worker::store::pool::Store;

use crate::Failure;
use crate::load::request::Tokens;

/// Makes all of it, in a schema that has none.
pub async fn make(store: &Store, tokens: &Tokens) -> Result<(), Failure> {
    for (db_id, name) in [(1, "one"), (2, "two")] {
        let made = store.create_database(name, false).await?;
        let all = store.create_resource(db_id, &Channel::ALL, "all").await?;
        let mail = store
            .create_resource(db_id, &[Channel::Email], "mail")
            .await?;
        if (made, all, mail) != (db_id, db_id * 2 - 1, db_id * 2) {
            return Err("a new database does not number from 1".into());
        }
    }
    store
        .create_token(
            tokens.both.hash(),
            &Scope::Databases(vec![1, 2]),
            None,
            "both",
        )
        .await?;
    store
        .create_token(tokens.all.hash(), &Scope::AllDatabases, None, "all")
        .await?;
    Ok(())
}
