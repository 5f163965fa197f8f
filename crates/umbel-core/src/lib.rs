//! Every decision of umbel: pure machines for coordinator and worker.
