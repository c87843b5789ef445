//! Commands behind the first deploy of an app, from before it goes live until they have ended, whoever runs them.
use super::{Result, Store, narrow};
use crate::domain::{AppId, BuildId, ReleaseNo};

/// A command that is to run behind the first deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postdeploy {
    pub app: AppId,
    pub release: ReleaseNo,
    /// In whose transcript it is told.
    pub build: BuildId,
    pub line: String,
    /// How often it was begun.
    pub begun: u32,
}

impl Store {
    /// Notes it, before its release can go live; in place of one whose release never did.
    pub async fn expect_postdeploy(&self, app: AppId, release: ReleaseNo, build: BuildId, line: &str) -> Result<()> {
        let no = i64::from(release.0);
        let mut transaction = self.begin_for(app).await?;
        sqlx::query!(
            "INSERT OR REPLACE INTO postdeploys (app_id, release_no, build_id, line) VALUES (?, ?, ?, ?)",
            app.0,
            no,
            build.0,
            line
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Those that have not come to an end.
    pub async fn postdeploys(&self) -> Result<Vec<Postdeploy>> {
        let rows = sqlx::query!("SELECT app_id, release_no, build_id, line, begun FROM postdeploys ORDER BY app_id");
        let rows = rows.fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|row| {
                Ok(Postdeploy {
                    app: AppId(row.app_id),
                    release: ReleaseNo(narrow(row.release_no, "postdeploys.release_no")?),
                    build: BuildId(row.build_id),
                    line: row.line,
                    begun: narrow(row.begun, "postdeploys.begun")?,
                })
            })
            .collect()
    }

    /// Counts that it begins. `false`: none is expected.
    pub async fn begin_postdeploy(&self, app: AppId) -> Result<bool> {
        let counted = sqlx::query!("UPDATE postdeploys SET begun = begun + 1 WHERE app_id = ?", app.0)
            .execute(&self.pool)
            .await?
            .rows_affected();
        Ok(counted == 1)
    }

    /// It has ended, well or not, or is not to run any more. None may be expected.
    pub async fn end_postdeploy(&self, app: AppId) -> Result<()> {
        sqlx::query!("DELETE FROM postdeploys WHERE app_id = ?", app.0).execute(&self.pool).await?;
        Ok(())
    }
}
