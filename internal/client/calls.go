package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// Whoami gives the owner of the token.
func (c *Client) Whoami(ctx context.Context) (restart.Actor, error) {
	return get[restart.Actor](ctx, c, "whoami", nil)
}

// Users lists the people who may sign in.
func (c *Client) Users(ctx context.Context) ([]wire.User, error) {
	var all []wire.User
	query := url.Values{}
	for {
		page, err := get[wire.List[wire.User]](ctx, c, "users", query)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// CreateUser makes a local user.
func (c *Client) CreateUser(ctx context.Context, req wire.UserRequest) (wire.NewUser, error) {
	return post[wire.NewUser](ctx, c, "users", req, nil)
}

// ChangeUser changes roles or method of a user, disables or enables him.
func (c *Client) ChangeUser(ctx context.Context, name string, req wire.UserChange) (wire.User, error) {
	return ask[wire.User](ctx, c, http.MethodPatch, "users/"+segment(name), nil, req, nil)
}

// SetPassword sets a local user's password.
func (c *Client) SetPassword(ctx context.Context, name string, req wire.PasswordRequest) (wire.NewPassword, error) {
	return post[wire.NewPassword](ctx, c, "users/"+segment(name)+"/password", req, nil)
}

// Sessions lists one's own sessions in browsers, or everybody's.
func (c *Client) Sessions(ctx context.Context, all bool) ([]wire.Session, error) {
	query := url.Values{}
	if all {
		query.Set("all", "true")
	}
	list, err := get[wire.List[wire.Session]](ctx, c, "sessions", query)
	return list.Items, err
}

// RevokeSession ends a session at once.
func (c *Client) RevokeSession(ctx context.Context, id string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "sessions/"+segment(id), nil, nil, nil)
	return err
}

// RevokeSessions ends all sessions of somebody at once.
func (c *Client) RevokeSessions(ctx context.Context, name string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "users/"+segment(name)+"/sessions", nil, nil, nil)
	return err
}

// BeginLogin asks that this command line be signed in by a page.
func (c *Client) BeginLogin(ctx context.Context, req wire.LoginRequest) (wire.LoginStarted, error) {
	return post[wire.LoginStarted](ctx, c, "logins", req, nil)
}

// ClaimLogin asks what came of it.
func (c *Client) ClaimLogin(ctx context.Context, secret string) (wire.LoginAnswer, error) {
	return post[wire.LoginAnswer](ctx, c, "logins/claim", wire.LoginClaim{Secret: secret}, nil)
}

// Inventory tells how the inventory and its sources are.
func (c *Client) Inventory(ctx context.Context) (wire.InventoryState, error) {
	return get[wire.InventoryState](ctx, c, "inventory", nil)
}

// Services lists the inventory's services.
func (c *Client) Services(ctx context.Context) (wire.List[restart.Service], error) {
	return get[wire.List[restart.Service]](ctx, c, "services", nil)
}

// Groups lists the inventory's groups.
func (c *Client) Groups(ctx context.Context) (wire.List[restart.Group], error) {
	return get[wire.List[restart.Group]](ctx, c, "groups", nil)
}

// Hosts resolves a host expression; "" is every host.
func (c *Client) Hosts(ctx context.Context, expr string) (wire.List[restart.Host], error) {
	query := url.Values{}
	if expr != "" {
		query.Set("expr", expr)
	}
	return get[wire.List[restart.Host]](ctx, c, "hosts", query)
}

// CheckHosts asks hosts what they say of themselves.
func (c *Client) CheckHosts(ctx context.Context, req wire.HostCheckRequest) ([]wire.HostCheck, error) {
	list, err := post[wire.List[wire.HostCheck]](ctx, c, "hosts/check", req, nil)
	return list.Items, err
}

// DiscoverHosts asks hosts which services they see.
func (c *Client) DiscoverHosts(ctx context.Context, req wire.HostDiscoverRequest) ([]wire.HostDiscovery, error) {
	list, err := post[wire.List[wire.HostDiscovery]](ctx, c, "hosts/discover", req, nil)
	return list.Items, err
}

// Scenarios lists the newest version of each scenario.
func (c *Client) Scenarios(ctx context.Context) ([]wire.Scenario, error) {
	list, err := get[wire.List[wire.Scenario]](ctx, c, "scenarios", nil)
	return list.Items, err
}

// Scenario gives one version with its bytes.
func (c *Client) Scenario(ctx context.Context, digest string) (wire.Scenario, error) {
	return get[wire.Scenario](ctx, c, "scenarios/"+segment(digest), nil)
}

// ReleaseLock takes the hold of its service from a paused run.
func (c *Client) ReleaseLock(ctx context.Context, run, reason string) ([]wire.Lock, error) {
	list, err := ask[wire.List[wire.Lock]](ctx, c, http.MethodDelete, "locks/"+segment(run), url.Values{"reason": {reason}}, nil, nil)
	return list.Items, err
}

// Locks lists which run holds which service.
func (c *Client) Locks(ctx context.Context) ([]wire.Lock, error) {
	list, err := get[wire.List[wire.Lock]](ctx, c, "locks", nil)
	return list.Items, err
}

// Plan gives what a request would do; nothing is stored.
func (c *Client) Plan(ctx context.Context, req restart.Request) (restart.Plan, error) {
	return post[restart.Plan](ctx, c, "plans", req, nil)
}

// Draft keeps a request as a draft with its plan. The same key gives the same
// run again, so that a request whose answer was lost can be sent once more.
func (c *Client) Draft(ctx context.Context, req restart.Request, idempotencyKey string) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs", wire.RunRequest{Request: req}, keyHeader(idempotencyKey))
}

func keyHeader(idempotencyKey string) http.Header {
	header := http.Header{}
	if idempotencyKey != "" {
		header.Set("Idempotency-Key", idempotencyKey)
	}
	return header
}

// Start confirms a draft.
func (c *Client) Start(ctx context.Context, id string, req wire.StartRequest) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/start", req, nil)
}

// Run gives one run with its plan and tasks.
func (c *Client) Run(ctx context.Context, id string) (restart.Run, error) {
	return get[restart.Run](ctx, c, "runs/"+segment(id), nil)
}

// Runs lists runs, the newest first.
func (c *Client) Runs(ctx context.Context, q wire.RunQuery) (wire.List[restart.Run], error) {
	return get[wire.List[restart.Run]](ctx, c, "runs", q.Values())
}

// Pause stops a run before its next host.
func (c *Client) Pause(ctx context.Context, id string) (restart.Run, error) {
	return c.verb(ctx, id, "pause")
}

// Resume lets a paused run go on.
func (c *Client) Resume(ctx context.Context, id string) (restart.Run, error) {
	return c.verb(ctx, id, "resume")
}

// Abort ends a run; the host in hand finishes.
func (c *Client) Abort(ctx context.Context, id string) (restart.Run, error) {
	return c.verb(ctx, id, "abort")
}

// ForceAbort ends a run and kills what runs on the host in hand.
func (c *Client) ForceAbort(ctx context.Context, id string) (restart.Run, error) {
	return c.verb(ctx, id, "force-abort")
}

// Ask asks something of a run by the name of its route (pause, resume, abort,
// force-abort), upon the version that was looked at; 0 = whatever it is now.
func (c *Client) Ask(ctx context.Context, id, verb string, seen int64) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/"+segment(verb), wire.VerbRequest{Seen: wire.Seen{Version: seen}}, nil)
}

// Decide says what became of an unknown host.
func (c *Client) Decide(ctx context.Context, id string, req wire.DecideRequest) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/decide", req, nil)
}

// Retry asks for a run over what another has left undone. The same key gives
// the same run again.
func (c *Client) Retry(ctx context.Context, id string, req wire.RetryRequest, idempotencyKey string) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/retry", req, keyHeader(idempotencyKey))
}

// Undrain asks for a run that puts back the hosts that another has left drained.
func (c *Client) Undrain(ctx context.Context, id string, req wire.UndrainRequest, idempotencyKey string) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/undrain", req, keyHeader(idempotencyKey))
}

func (c *Client) verb(ctx context.Context, id, verb string) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/"+verb, nil, nil)
}

// TaskDetail gives one host of a run with what its agent last said.
func (c *Client) TaskDetail(ctx context.Context, run, task string) (wire.TaskDetail, error) {
	return get[wire.TaskDetail](ctx, c, taskPath(run, task), nil)
}

// Output gives pieces of a task's output from an offset, and the offset at
// which it goes on; more is false where there is nothing more now.
func (c *Client) Output(ctx context.Context, run, task string, offset int64, limit int) (pieces []protocol.Output, next int64, more bool, err error) {
	query := url.Values{"offset": {strconv.FormatInt(offset, 10)}, "limit": {strconv.Itoa(limit)}}
	list, err := get[wire.List[protocol.Output]](ctx, c, taskPath(run, task)+"/output", query)
	if err != nil || list.Next == "" {
		return list.Items, 0, false, err
	}
	if next, err = strconv.ParseInt(list.Next, 10, 64); err != nil || next <= offset {
		return nil, 0, false, c.foreign(fmt.Errorf("its cursor %s leads nowhere", restart.Quote(list.Next)))
	}
	return list.Items, next, true, nil
}

// WriteOutput writes all of a task's output that there is now, byte for byte.
func (c *Client) WriteOutput(ctx context.Context, w io.Writer, run, task string) error {
	resp, err := c.do(ctx, http.MethodGet, taskPath(run, task)+"/output.txt", nil, nil, http.Header{"Accept": {"text/plain"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("copy the output of task %s: %w", task, err)
	}
	return nil
}

// Tokens lists one's own tokens; for admins, everybody's.
func (c *Client) Tokens(ctx context.Context) ([]wire.Token, error) {
	list, err := get[wire.List[wire.Token]](ctx, c, "tokens", nil)
	return list.Items, err
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, req wire.TokenRequest) (wire.NewToken, error) {
	return post[wire.NewToken](ctx, c, "tokens", req, nil)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "tokens/"+segment(id), nil, nil, nil)
	return err
}

// IssueHost has a host's certificate request signed.
func (c *Client) IssueHost(ctx context.Context, host string, csrPEM []byte) (wire.HostCredentials, error) {
	return post[wire.HostCredentials](ctx, c, "certificates", wire.CertificateRequest{Host: host, CSR: string(csrPEM)}, nil)
}

// Certificates lists what was issued to hosts.
func (c *Client) Certificates(ctx context.Context) ([]wire.Certificate, error) {
	list, err := get[wire.List[wire.Certificate]](ctx, c, "certificates", nil)
	return list.Items, err
}

// RevokeCertificates ends certificates of a host before their time.
func (c *Client) RevokeCertificates(ctx context.Context, req wire.RevocationRequest) ([]wire.Certificate, error) {
	list, err := post[wire.List[wire.Certificate]](ctx, c, "certificates/revoke", req, nil)
	return list.Items, err
}

// JoinTokens lists the join tokens, the newest first.
func (c *Client) JoinTokens(ctx context.Context) ([]wire.JoinToken, error) {
	list, err := get[wire.List[wire.JoinToken]](ctx, c, "join-tokens", nil)
	return list.Items, err
}

// CreateJoinToken makes a join token.
func (c *Client) CreateJoinToken(ctx context.Context, req wire.JoinTokenRequest) (wire.NewJoinToken, error) {
	return post[wire.NewJoinToken](ctx, c, "join-tokens", req, nil)
}

// RevokeJoinToken ends a join token.
func (c *Client) RevokeJoinToken(ctx context.Context, id string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "join-tokens/"+segment(id), nil, nil, nil)
	return err
}

func taskPath(run, task string) string { return "runs/" + segment(run) + "/tasks/" + segment(task) }

// segment makes any text one segment of a path.
func segment(s string) string { return url.PathEscape(s) }
