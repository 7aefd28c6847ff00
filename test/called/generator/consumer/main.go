// Consumer restarts a service by the client that was generated beside it.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"example.com/generated/api"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pem, err := os.ReadFile(os.Getenv("RESTARTILKA_CA"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	token := func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+os.Getenv("RESTARTILKA_TOKEN"))
		return nil
	}
	c, err := api.NewClientWithResponses(os.Getenv("RESTARTILKA_URL"), api.WithHTTPClient(web), api.WithRequestEditorFn(token))
	if err != nil {
		return err
	}
	refused, err := c.CreateRunWithResponse(ctx, nil, api.RunRequest{Service: os.Args[1], Reason: "."})
	if err != nil {
		return err
	}
	if p := refused.ApplicationproblemJSONDefault; p == nil {
		return fmt.Errorf("a reason that says nothing: %s", refused.Status())
	} else {
		fmt.Println("refused", p.Code)
	}
	start, key := true, "generated-1"
	asked, err := c.CreateRunWithResponse(ctx, &api.CreateRunParams{IdempotencyKey: &key}, api.RunRequest{Service: os.Args[1], Reason: os.Args[2], Start: &start})
	if err != nil {
		return err
	}
	if asked.JSON201 == nil {
		return fmt.Errorf("%s: %s", asked.Status(), asked.Body)
	}
	for id := asked.JSON201.Id; ; time.Sleep(100 * time.Millisecond) {
		got, err := c.GetRunWithResponse(ctx, id)
		if err != nil {
			return err
		}
		if got.JSON200 == nil {
			return fmt.Errorf("%s: %s", got.Status(), got.Body)
		}
		switch state := got.JSON200.State; state {
		case "queued", "running":
		default:
			fmt.Println(id, state)
			return nil
		}
	}
}
