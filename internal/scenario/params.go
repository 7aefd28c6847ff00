package scenario

import (
	"math"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Bounds of what a scenario may declare.
const (
	maxParams      = 64
	maxParamLength = 1024 // bytes of a string parameter
)

var paramTypes = []string{"enum", "bool", "int", "duration", "string"}

// readParams reads the declared parameters in the order of the file.
func readParams(top section) []restart.Param {
	n := top.values["params"]
	if n == nil || top.null("params", n) {
		return nil
	}
	sec, names := open(top.found, "params", n)
	if len(names) > maxParams {
		top.refuse("params", codeValue, "", "declares %d parameters; at most %d are allowed", len(names), maxParams)
		return nil
	}
	var out []restart.Param
	for _, name := range names {
		if err := restart.CheckParamName(name); err != nil {
			sec.refuseErr(name, err)
			continue
		}
		if p, ok := sec.sub(name, "type", "description", "values", "min", "max", "max_length", "default"); ok {
			out = append(out, readParam(p, name))
		}
	}
	return out
}

func readParam(sec section, name string) restart.Param {
	sec.need("type")
	p := restart.Param{Name: name, Type: sec.oneOf("type", paramTypes...), Description: sec.text("description")}
	for key, types := range map[string]string{"values": "enum", "min": "int", "max": "int", "max_length": "string"} {
		if sec.has(key) && p.Type != "" && p.Type != types {
			sec.refuse(key, codeValue, "remove it, or change the type", "has no meaning for the type %s", p.Type)
		}
	}
	switch p.Type {
	case "enum":
		sec.need("values")
		p.Values = readEnum(sec, name)
	case "int":
		p.Min, p.Max = bound(sec, "min"), bound(sec, "max")
		if p.Min != nil && p.Max != nil && *p.Min > *p.Max {
			sec.refuse("min", codeValue, "exchange them", "is %d, above max, which is %d: no value fits", *p.Min, *p.Max)
			p.Max = nil
		}
	case "string":
		p.MaxLength = sec.count("max_length", 1, maxParamLength)
	}
	if n, ok := sec.scalar("default"); ok && p.Type != "" && (p.Type != "enum" || p.Values != nil) {
		if v, err := p.Check(n.Value); err != nil {
			sec.refuseErr("default", err)
		} else {
			p.Default = &v
		}
	}
	return p
}

// readEnum reads the values of an enum: texts of the same safe alphabet as a
// string parameter, taken as they stand in the file (on is "on").
func readEnum(sec section, name string) []string {
	safe := restart.Param{Name: name, Type: "string"}
	var out []string
	for _, it := range sec.list("values", 100) {
		n, ok := it.scalar(it.key)
		if !ok {
			continue
		}
		switch v, err := safe.Check(n.Value); {
		case err != nil:
			it.refuseErr(it.key, err)
		case slices.Contains(out, v):
			it.refuse(it.key, codeValue, "keep one of them", "repeats %s", restart.Quote(v))
		default:
			out = append(out, v)
		}
	}
	return out
}

func bound(sec section, key string) *int64 {
	if v, ok := sec.whole(key, math.MinInt64, math.MaxInt64); ok {
		return &v
	}
	return nil
}

// variable gives the environment variable that carries a parameter.
func variable(param string) string { return "PARAM_" + strings.ToUpper(param) }
