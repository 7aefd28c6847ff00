package web

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// filled is a form that is shown again: what was typed into it, and what is
// wrong with it.
type filled struct {
	Name   string // which of the page's forms; "" = none was sent
	Values url.Values
	Field  string // that is wrong; "" = none in particular
	Wrong  string
}

// beside is what is wrong with one field.
type beside struct{ ID, Text string }

// readForm reads what was sent, of at most limit bytes.
func readForm(w http.ResponseWriter, v *visit, limit int64) error {
	v.Body = http.MaxBytesReader(w, v.Body, limit)
	if err := v.ParseForm(); err != nil {
		return restart.Errorf(restart.CodeInvalid, "the form can't be read").Because(err)
	}
	return nil
}

// refill gives a form that was refused, to be shown again. Errors that are not
// about what was typed have a page of their own: they are given back.
func refill(v *visit, name string, err error) (filled, error) {
	e, ok := asProblem(err)
	if !ok || !slices.Contains([]restart.Code{restart.CodeInvalid, restart.CodeReason, restart.CodeConflict, restart.CodeTooLarge}, e.Code) {
		return filled{}, err
	}
	text := said(v.lang, e.Message)
	if e.Hint != "" {
		text += " (" + sentences(v.lang, e.Hint)[0] + ")"
	}
	return filled{Name: name, Values: v.PostForm, Field: control.FieldOf(err), Wrong: text}, nil
}

// For gives the form if it is the one of that name, and an empty one otherwise.
func (f filled) For(name string) filled {
	if f.Name == name {
		return f
	}
	return filled{}
}

// Value gives what was typed into a field, or else what it begins with.
func (f filled) Value(field, otherwise string) string {
	if f.Name == "" {
		return otherwise
	}
	return restart.Escape(f.Values.Get(field))
}

// Has tells whether a value was chosen in a field; before anything was sent,
// otherwise.
func (f filled) Has(field, value string, otherwise bool) bool {
	if f.Name == "" {
		return otherwise
	}
	return slices.Contains(f.Values[field], value)
}

// At gives what is wrong with a field.
func (f filled) At(field string) beside {
	if f.Name == "" || f.Field != field {
		return beside{}
	}
	return beside{ID: f.Name + "-" + field, Text: f.Wrong}
}

// Whole gives what is wrong with no field that the form has.
func (f filled) Whole(fields ...string) beside {
	if f.Name == "" || slices.Contains(fields, f.Field) {
		return beside{}
	}
	return beside{ID: f.Name, Text: f.Wrong}
}

// reasonField is the field of a reason.
type reasonField struct {
	ID, Value string
	At        beside
}

// Reason gives the field of the reason of a form, whose ids begin so.
func (f filled) Reason(id string) reasonField {
	return reasonField{ID: id, Value: f.Value("reason", ""), At: f.At("reason")}
}
