package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) listTokens(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.Token], error) {
	tokens, err := a.cfg.Control.Tokens(ctx, actor)
	return wire.ListOf(tokens, ""), err
}

func (a *api) createToken(ctx context.Context, actor restart.Actor, in *struct{ Body wire.TokenRequest }) (wire.NewToken, error) {
	token, secret, err := a.cfg.Control.CreateToken(ctx, actor, in.Body)
	return wire.NewToken{Token: token, Secret: secret}, err
}

func (a *api) revokeToken(ctx context.Context, actor restart.Actor, in *struct {
	ID string `path:"id"`
}) error {
	return a.cfg.Control.RevokeToken(ctx, actor, in.ID)
}

func (a *api) listCertificates(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.Certificate], error) {
	list, err := a.cfg.Control.Certificates(ctx, actor)
	return wire.ListOf(list, ""), err
}

func (a *api) issueCertificate(ctx context.Context, actor restart.Actor, in *struct{ Body wire.CertificateRequest }) (wire.HostCredentials, error) {
	return a.cfg.Control.IssueHost(ctx, actor, in.Body.Host, []byte(in.Body.CSR))
}

func (a *api) revokeCertificates(ctx context.Context, actor restart.Actor, in *struct{ Body wire.RevocationRequest }) (wire.List[wire.Certificate], error) {
	list, err := a.cfg.Control.RevokeCertificates(ctx, actor, in.Body)
	return wire.ListOf(list, ""), err
}

func (a *api) listJoinTokens(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.JoinToken], error) {
	list, err := a.cfg.Control.JoinTokens(ctx, actor)
	return wire.ListOf(list, ""), err
}

func (a *api) createJoinToken(ctx context.Context, actor restart.Actor, in *struct{ Body wire.JoinTokenRequest }) (wire.NewJoinToken, error) {
	token, text, err := a.cfg.Control.CreateJoinToken(ctx, actor, in.Body)
	return wire.NewJoinToken{JoinToken: token, Token: text}, err
}

func (a *api) revokeJoinToken(ctx context.Context, actor restart.Actor, in *struct {
	ID string `path:"id"`
}) error {
	return a.cfg.Control.RevokeJoinToken(ctx, actor, in.ID)
}

// join is called by hosts, not by people: the guard has found out which join
// token was shown.
func (a *api) join(ctx context.Context, _ restart.Actor, in *struct{ Body protocol.JoinRequest }) (protocol.JoinAnswer, error) {
	return a.cfg.Control.Join(ctx, joinerOf(ctx), in.Body)
}
