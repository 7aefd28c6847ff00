// Package storetest gives tests a store on real databases: a new SQLite file,
// and a schema of its own in a PostgreSQL server that runs for one test.
package storetest
