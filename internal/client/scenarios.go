package client

import (
	"context"
	"net/url"

	"github.com/restartilka/restartilka/internal/wire"
)

// ScenarioVersions lists versions with their reviews, of one name or, by "", all.
func (c *Client) ScenarioVersions(ctx context.Context, name string) ([]wire.ScenarioVersion, error) {
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	list, err := get[wire.List[wire.ScenarioVersion]](ctx, c, "scenario-versions", query)
	return list.Items, err
}

// ReviewScenario gives one version as a reviewer needs it; service and host may
// be "".
func (c *Client) ReviewScenario(ctx context.Context, digest, service, host string) (wire.ScenarioReview, error) {
	query := url.Values{}
	if service != "" {
		query.Set("service", service)
	}
	if host != "" {
		query.Set("host", host)
	}
	return get[wire.ScenarioReview](ctx, c, "scenario-versions/"+segment(digest), query)
}

// Propose pushes a version.
func (c *Client) Propose(ctx context.Context, req wire.ScenarioProposal) (wire.ScenarioVersion, error) {
	return post[wire.ScenarioVersion](ctx, c, "scenario-versions", req, nil)
}

// SignScenario lays one's own signature beside a version.
func (c *Client) SignScenario(ctx context.Context, digest string, req wire.SignatureRequest) (wire.ScenarioVersion, error) {
	return post[wire.ScenarioVersion](ctx, c, "scenario-versions/"+segment(digest)+"/signatures", req, nil)
}

// WithdrawScenario ends a version.
func (c *Client) WithdrawScenario(ctx context.Context, digest, reason string) (wire.ScenarioVersion, error) {
	return post[wire.ScenarioVersion](ctx, c, "scenario-versions/"+segment(digest)+"/withdraw", wire.WithdrawRequest{Reason: reason}, nil)
}

// ScenarioCoverage tells how the scenarios in force would stand without a key.
func (c *Client) ScenarioCoverage(ctx context.Context, without string) ([]wire.ScenarioCoverage, error) {
	list, err := get[wire.List[wire.ScenarioCoverage]](ctx, c, "scenario-coverage", url.Values{"without": {without}})
	return list.Items, err
}

// ScenarioProblems lists the files of the server's folder that are not used.
func (c *Client) ScenarioProblems(ctx context.Context) ([]wire.ScenarioProblem, error) {
	list, err := get[wire.List[wire.ScenarioProblem]](ctx, c, "scenario-problems", nil)
	return list.Items, err
}
