// Package api is what the generator writes the client into.
package api

import _ "github.com/oapi-codegen/runtime"
