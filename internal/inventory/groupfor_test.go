package inventory

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestGroupFor(t *testing.T) {
	group := func(name, project, environment string, services ...string) restart.Group {
		return restart.Group{Name: name, Project: project, Environment: environment, Services: services}
	}
	v := newView(Snapshot{
		Services: []restart.Service{{Name: "nginx", Project: "shop"}, {Name: "billing"}, {Name: "lonely"}, {Name: "anywhere"}},
		Groups: []restart.Group{
			group("shop-testing", "", "testing", "nginx", "billing"),
			group("shop-production", "shop", "production", "nginx"),
			group("blog-production", "blog", "production", "nginx"),
			group("other", "", "production"),
			group("here", "", "", "anywhere"),
		},
	})
	for _, c := range []struct {
		service, environment, project, want string
	}{
		{"nginx", "testing", "", "shop-testing"},
		{"nginx", "testing", "shop", "shop-testing"}, // its project is the service's
		{"nginx", "production", "shop", "shop-production"},
		{"nginx", "", "blog", "blog-production"},
		{"billing", "", "", "shop-testing"},
		{"anywhere", "", "", "here"},
	} {
		if g, err := v.groupFor(c.service, c.environment, c.project); err != nil || g.Name != c.want {
			t.Errorf("%+v: %s, %v", c, g.Name, err)
		}
	}
	for _, c := range []struct {
		service, environment, project string
		code                          restart.Code
		words                         string
	}{
		{"ngnix", "testing", "", restart.CodeNotFound, "did you mean nginx?"},
		{"lonely", "", "", restart.CodeNotFound, "no group in the inventory"},
		{"nginx", "", "", restart.CodeInvalid, "several environments: say which"},
		{"nginx", "", "shop", restart.CodeInvalid, "several environments of project \"shop\""},
		{"nginx", "production", "", restart.CodeInvalid, "they are: shop-production (production, shop), blog-production (production, blog)"},
		{"nginx", "prestable", "", restart.CodeNotFound, "its groups are: shop-testing (testing, shop), shop-production"},
		{"nginx", "testing", "blog", restart.CodeNotFound, "no group in environment \"testing\" of project \"blog\""},
		{"anywhere", "testing", "", restart.CodeNotFound, "here (no environment, no project)"},
		{"nginx", "x\n\x1b[31m", "", restart.CodeNotFound, `x\n\x1b[31m`},
	} {
		g, err := v.groupFor(c.service, c.environment, c.project)
		if restart.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%+v: %s, %v (%s)", c, g.Name, err, restart.CodeOf(err))
		}
	}
	if got := environments(v.groupsOf("nginx")); strings.Join(got, " ") != "testing production" {
		t.Errorf("environments %q", got)
	}
}
