package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Users lists the people that were seen, by name: those whose name, display
// name or mail address has text in it. next is the name to go on after; "" at
// the end.
func (c *Control) Users(ctx context.Context, actor restart.Actor, text, after string, limit int) (users []wire.User, next string, err error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > wire.MaxPage {
		limit = wire.MaxPage
	}
	list, err := c.cfg.Store.Users(ctx, text, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].Name
	}
	for _, u := range list {
		users = append(users, userInfo(u))
	}
	return users, next, nil
}

// User gives one of them, with the roles that the rules give him now.
func (c *Control) User(ctx context.Context, actor restart.Actor, name string) (wire.User, []restart.Role, error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return wire.User{}, nil, err
	}
	if err := restart.CheckPerson(name); err != nil {
		return wire.User{}, nil, err
	}
	u, err := c.cfg.Store.User(ctx, name)
	return userInfo(u), c.rights().Roles(u.Name, u.Groups), err
}

// CreateUser makes a local user. Without a password one is made, and given
// back this once.
func (c *Control) CreateUser(ctx context.Context, actor restart.Actor, req wire.UserRequest) (wire.NewUser, error) {
	rec := c.record(actor, audit.UserCreated)
	rec.Detail = clip(fmt.Sprintf("%s, roles %v", req.Name, req.Roles))
	err := c.requireNow(actor, authz.Administer)
	if err == nil {
		err = restart.InField(restart.CheckPerson(req.Name), "name")
	}
	if err == nil {
		err = restart.InField(checkRoles(req.Roles), "roles")
	}
	var made, hash string
	if err == nil {
		made, hash, err = c.newPassword(ctx, req.Name, req.Password)
		err = restart.InField(err, "password")
	}
	if err != nil {
		return wire.NewUser{}, c.refused(ctx, rec, err)
	}
	now := c.now()
	u := store.User{Name: req.Name, Method: authn.MethodLocal, Roles: req.Roles, Password: hash, PasswordAt: now, CreatedAt: now}
	if err := c.cfg.Store.CreateUser(ctx, u, rec); err != nil {
		return wire.NewUser{}, c.refused(ctx, rec, restart.InField(err, "name"))
	}
	c.cfg.Committed()
	return wire.NewUser{User: userInfo(u), Password: made}, nil
}

// newPassword gives the hash of a password, and the password itself if it was
// made here.
func (c *Control) newPassword(ctx context.Context, name, given string) (made, hash string, err error) {
	if given == "" {
		given = authn.NewPassword()
		made = given
	}
	if err := authn.CheckPassword(name, given); err != nil {
		return "", "", err
	}
	hash, err = c.cfg.Hasher.Hash(ctx, given)
	return made, hash, err
}

// ChangeUser changes roles or method of a user, or disables him, which ends his
// sessions and the use of his tokens at once. Nobody disables himself, or takes
// his own role of admin; and nobody, a program with a token neither, takes the
// last admin away.
func (c *Control) ChangeUser(ctx context.Context, actor restart.Actor, name string, req wire.UserChange) (wire.User, error) {
	rec := c.record(actor, audit.UserChanged)
	rec.Detail = clip(name)
	change := store.UserChange{Roles: req.Roles, Disabled: req.Disabled, Admin: c.isAdmin}
	switch {
	case req.Disabled != nil && *req.Disabled:
		rec.Action = audit.UserDisabled
	case req.Disabled != nil:
		rec.Action = audit.UserEnabled
	}
	if req.Roles != nil {
		rec.Detail = clip(fmt.Sprintf("%s, roles %v", name, *req.Roles))
	}
	if req.Method != "" {
		change.Method = &req.Method
		rec.Detail = clip(rec.Detail + ", signs in by " + req.Method)
	}
	err := c.requireNow(actor, authz.Administer)
	if err == nil {
		err = checkUserChange(actor, name, req)
	}
	if err != nil {
		return wire.User{}, c.refused(ctx, rec, err)
	}
	change.Records = []audit.Record{rec}
	if err := c.cfg.Store.ChangeUser(ctx, name, change); err != nil {
		return wire.User{}, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	u, err := c.cfg.Store.User(ctx, name)
	return userInfo(u), err
}

// isAdmin tells whether a user is an admin: as another admin made him, or by
// the rules.
func (c *Control) isAdmin(u store.User) bool {
	return slices.Contains(u.Roles, restart.RoleAdmin) || slices.Contains(c.rights().Roles(u.Name, u.Groups), restart.RoleAdmin)
}

func checkUserChange(actor restart.Actor, name string, req wire.UserChange) error {
	if err := restart.CheckPerson(name); err != nil {
		return err
	}
	if req.Roles == nil && req.Method == "" && req.Disabled == nil {
		return restart.Errorf(restart.CodeInvalid, "nothing is to be changed")
	}
	if req.Method != "" && !slices.Contains([]string{authn.MethodLocal, authn.MethodLDAP, authn.MethodOIDC, authn.MethodProxy}, req.Method) {
		return restart.Errorf(restart.CodeInvalid, "there is no method %s", restart.Quote(req.Method)).WithHint("local, ldap, oidc or proxy")
	}
	if name == actor.Name && (req.Method != "" || req.Disabled != nil && *req.Disabled || req.Roles != nil && !slices.Contains(*req.Roles, restart.RoleAdmin)) {
		return restart.Errorf(restart.CodeConflict, "nobody shuts himself out").WithHint("another admin can do that")
	}
	if req.Roles == nil {
		return nil
	}
	return restart.InField(checkRoles(*req.Roles), "roles")
}

// SetPassword sets a local user's password and ends his sessions, except the
// one that asks. One's own takes the old one; an admin sets that of others.
func (c *Control) SetPassword(ctx context.Context, actor restart.Actor, name string, req wire.PasswordRequest) (wire.NewPassword, error) {
	if name == "" {
		name = actor.Name
	}
	rec := c.record(actor, audit.PasswordChanged)
	rec.Detail = clip(name)
	made, err := c.setPassword(ctx, actor, name, req, rec)
	if err != nil {
		return wire.NewPassword{}, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return wire.NewPassword{Password: made}, nil
}

func (c *Control) setPassword(ctx context.Context, actor restart.Actor, name string, req wire.PasswordRequest, rec audit.Record) (made string, err error) {
	if err := c.unbounded(actor); err != nil {
		return "", err
	}
	if name != actor.Name {
		err = c.requireNow(actor, authz.Administer)
	} else {
		err = c.rights().Require(actor, authz.See, authz.Object{})
	}
	if err == nil {
		err = restart.CheckPerson(name)
	}
	var u store.User
	if err == nil {
		u, err = c.cfg.Store.User(ctx, name)
	}
	switch {
	case err != nil:
		return "", err
	case u.Method != authn.MethodLocal:
		return "", restart.Errorf(restart.CodeConflict, "%s signs in by %s, and has no password here", name, u.Method)
	case name == actor.Name && req.New == "":
		return "", restart.InField(restart.Errorf(restart.CodeInvalid, "the new password is missing"), "password")
	case name == actor.Name:
		if err := c.proves(ctx, actor, u, req.Old); err != nil {
			return "", err
		}
	}
	made, hash, err := c.newPassword(ctx, name, req.New)
	if err != nil {
		return "", restart.InField(err, "password")
	}
	keep := ""
	if name == actor.Name {
		keep = actor.Session
	}
	return made, c.cfg.Store.ChangeUser(ctx, name, store.UserChange{Password: &hash, Keep: keep, Records: []audit.Record{rec}})
}

// proves checks somebody's old password, ever more slowly.
func (c *Control) proves(ctx context.Context, actor restart.Actor, u store.User, old string) error {
	if err := c.guesses.Wait(ctx, u.Name, actor.From); err != nil {
		return err
	}
	ok, err := c.cfg.Hasher.Matches(ctx, u.Password, old)
	if err != nil {
		return err
	}
	if !ok {
		c.guesses.Failed(u.Name, actor.From)
		return restart.InField(restart.Errorf(restart.CodeForbidden, "the old password is not right"), FieldOld)
	}
	c.guesses.Succeeded(u.Name, actor.From)
	return nil
}

// Self gives the user that somebody is; ok is false for one who is none: the
// owner of a token alone.
func (c *Control) Self(ctx context.Context, actor restart.Actor) (u wire.User, ok bool, err error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return wire.User{}, false, err
	}
	found, err := c.cfg.Store.User(ctx, actor.Name)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return wire.User{}, false, nil
	}
	return userInfo(found), err == nil, err
}

func userInfo(u store.User) wire.User {
	roles := u.Roles
	if roles == nil {
		roles = []restart.Role{}
	}
	return wire.User{
		Name: u.Name, Method: u.Method, Display: restart.Escape(u.Display), Mail: restart.Escape(u.Mail), Roles: roles, Groups: u.Groups,
		GroupsAt: orNull(u.GroupsAt), PasswordAt: orNull(u.PasswordAt), CreatedAt: u.CreatedAt, DisabledAt: orNull(u.DisabledAt),
	}
}
