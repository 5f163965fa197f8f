//! The coordinator: gRPC services, the engine thread, sessions and HTTP.
