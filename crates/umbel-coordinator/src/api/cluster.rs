//! `ClusterService`.

use tonic::{Request, Response, Status};
use umbel_core::command::Reply;
use umbel_core::event::Event;
use umbel_proto::v1::cluster_service_server::ClusterService;
use umbel_proto::{convert, v1};

use super::token::{self, List};
use super::{Api, backup, list, unexpected};

#[tonic::async_trait]
impl ClusterService for Api {
    type BackupStream = backup::Pieces;

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let v1::ListWorkersRequest {
            page_size,
            page_token,
        } = request.into_inner();
        let limit = list::page_size(page_size)?;
        let after = list::name(token::decode(
            List::Workers,
            &[],
            "page_token",
            &page_token,
        )?)?;
        // One more than the page tells whether there is another.
        let workers = self
            .engine
            .look(move |machine, _| machine.workers(&after, limit + 1));
        let workers = workers.await.map_err(|closed| self.gone(closed))?;
        let mut more = workers.len() > limit;
        let workers = workers.into_iter().take(limit);
        let mut workers = workers.map(convert::worker).collect();
        more |= list::cut(&mut workers);
        let last = workers.last().filter(|_| more);
        let next = last.map(|last| token::encode(List::Workers, &[], last.name.as_bytes()));
        Ok(Response::new(v1::ListWorkersResponse {
            workers,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let worker = request.into_inner().name;
        match self.ask(|reply| Event::Drain { reply, worker }).await? {
            Reply::Done => Ok(Response::new(v1::DrainWorkerResponse {})),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn get_cluster_status(
        &self,
        _: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        let cluster = self.engine.look(|machine, _| machine.cluster());
        let cluster = cluster.await.map_err(|closed| self.gone(closed))?;
        let stats = self.read(|store| Ok(store.stats())).await?;
        let about = &self.about;
        Ok(Response::new(v1::GetClusterStatusResponse {
            started_at: Some(convert::timestamp(about.started_ms)),
            epoch: about.epoch,
            disk_bytes: stats.disk_bytes.unwrap_or(0),
            live_bytes: stats.live_bytes,
            store_bytes_max: about.store_bytes_max,
            disk_free_bytes: stats.free_bytes.unwrap_or(0),
            data_dir: about.data_dir.display().to_string(),
            ..convert::cluster_status(cluster)
        }))
    }

    async fn backup(
        &self,
        _: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        Ok(Response::new(self.pieces()))
    }
}
