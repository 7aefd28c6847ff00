// Package api is the HTTP API of the server: a thin shell over package
// control, which decides everything. It adds what HTTP needs and nothing else:
//
//	request ─► request id, headers ─► policy ─► origin ─► decode ─► one call of control ─► reply
//	                                    │          │         │                │
//	                                    └──────────┴─────────┴────────────────┴─► problem+json
//
// Every route stands in one table (routes.go) with its policy, and can get onto
// the mux only from there; a route whose policy is not known answers nobody.
// Who asks is found out before a byte of the request's body is read.
//
// Operations are described by their Go types, from which huma makes the
// OpenAPI 3.1 description at /api/openapi.json and checks what comes in:
// unknown fields and unknown query parameters are refused, bodies end at 1 MiB.
package api
