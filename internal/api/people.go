package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) listUsers(ctx context.Context, actor restart.Actor, in *struct {
	After string `query:"after" doc:"the next of the page before" maxLength:"64"`
	Limit int    `query:"limit" minimum:"0" maximum:"200" doc:"0: 200"`
}) (wire.List[wire.User], error) {
	users, next, err := a.cfg.Control.Users(ctx, actor, "", in.After, in.Limit)
	return wire.ListOf(users, next), err
}

func (a *api) createUser(ctx context.Context, actor restart.Actor, in *struct{ Body wire.UserRequest }) (wire.NewUser, error) {
	return a.cfg.Control.CreateUser(ctx, actor, in.Body)
}

func (a *api) changeUser(ctx context.Context, actor restart.Actor, in *struct {
	Name string `path:"name"`
	Body wire.UserChange
}) (wire.User, error) {
	return a.cfg.Control.ChangeUser(ctx, actor, in.Name, in.Body)
}

func (a *api) setPassword(ctx context.Context, actor restart.Actor, in *struct {
	Name string `path:"name"`
	Body wire.PasswordRequest
}) (wire.NewPassword, error) {
	return a.cfg.Control.SetPassword(ctx, actor, in.Name, in.Body)
}

func (a *api) listSessions(ctx context.Context, actor restart.Actor, in *struct {
	All bool `query:"all" doc:"everybody's"`
}) (wire.List[wire.Session], error) {
	list, err := a.cfg.Control.Sessions(ctx, actor, in.All)
	return wire.ListOf(list, ""), err
}

func (a *api) revokeSession(ctx context.Context, actor restart.Actor, in *struct {
	ID string `path:"id"`
}) error {
	return a.cfg.Control.RevokeSession(ctx, actor, in.ID)
}

// beginLogin and claimLogin are called before anybody is signed in.
func (a *api) beginLogin(ctx context.Context, _ restart.Actor, in *struct{ Body wire.LoginRequest }) (wire.LoginStarted, error) {
	return a.cfg.Control.BeginLogin(ctx, fromOf(ctx), in.Body)
}

func (a *api) claimLogin(ctx context.Context, _ restart.Actor, in *struct{ Body wire.LoginClaim }) (wire.LoginAnswer, error) {
	return a.cfg.Control.ClaimLogin(ctx, fromOf(ctx), in.Body)
}

func (a *api) revokeSessions(ctx context.Context, actor restart.Actor, in *struct {
	Name string `path:"name"`
}) error {
	_, err := a.cfg.Control.RevokeSessions(ctx, actor, in.Name)
	return err
}
