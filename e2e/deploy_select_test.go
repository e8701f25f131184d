package e2e

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// selected returns the pods that a selector finds, of which there must be some.
func (c cluster) selected(t *testing.T, what string, selector *metav1.LabelSelector) (out []pod) {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for _, d := range c.deployments {
		if p := (pod{d.Name, &d.Spec.Template}); s.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		t.Errorf("%s selects no pod: %v", what, selector)
	}
	return out
}

// hasPort says whether a pod has such a port, by name or number, and its number.
func (p pod) hasPort(port intstr.IntOrString, protocol corev1.Protocol) (number int32, ok bool) {
	orTCP := func(p corev1.Protocol) corev1.Protocol {
		if p == "" {
			return corev1.ProtocolTCP
		}
		return p
	}
	for _, c := range p.Spec.Containers {
		for _, has := range c.Ports {
			if orTCP(has.Protocol) == orTCP(protocol) && (port.StrVal == has.Name || port.IntVal == has.ContainerPort) {
				return has.ContainerPort, true
			}
		}
	}
	return 0, false
}

// checkSelectors: what selects finds pods, and what names a port names one that these have.
func (c cluster) checkSelectors(t *testing.T) {
	for _, d := range c.deployments {
		if got := c.selected(t, "Deployment "+d.Name, d.Spec.Selector); len(got) != 1 || got[0].name != d.Name {
			t.Errorf("Deployment %s selects the pods of %v, want its own", d.Name, got)
		}
	}
	for _, b := range c.budgets {
		c.selected(t, "PodDisruptionBudget "+b.Name, b.Spec.Selector)
	}
	for _, s := range c.services {
		for _, p := range c.selected(t, "Service "+s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}) {
			for _, port := range s.Spec.Ports {
				number, ok := p.hasPort(port.TargetPort, port.Protocol)
				if !ok || s.Spec.ClusterIP == corev1.ClusterIPNone && number != port.Port { // nothing translates it there
					t.Errorf("Service %s, port %s %d: pod %s has %d at %s", s.Name, port.Name, port.Port, p.name, number, &port.TargetPort)
				}
			}
		}
	}
	for _, policy := range c.policies {
		what := "NetworkPolicy " + policy.Name
		pods := c.selected(t, what, &policy.Spec.PodSelector)
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				for _, p := range pods {
					if _, ok := p.hasPort(*port.Port, *port.Protocol); !ok {
						t.Errorf("%s: pod %s has no port %s (%s)", what, p.name, port.Port, *port.Protocol)
					}
				}
			}
			for _, peer := range rule.From {
				c.selected(t, what, peer.PodSelector)
			}
		}
	}
}

// checkMonitors: each endpoint is a port of a Service that is selected, and has metrics.
func (c cluster) checkMonitors(t *testing.T, help map[string]commandHelp) {
	for _, m := range c.monitors {
		s, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		for _, endpoint := range m.Spec.Endpoints {
			found := slices.ContainsFunc(c.services, func(service *corev1.Service) bool {
				return s.Matches(labels.Set(service.Labels)) &&
					slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == endpoint.Port })
			})
			if !found {
				t.Errorf("ServiceMonitor %s: no Service that it selects has a port %s", m.Name, endpoint.Port)
			}
			for _, command := range []string{"frontend", "worker"} {
				if !strings.Contains(help[command].text, "GET "+endpoint.Path) {
					t.Errorf("ServiceMonitor %s asks %s, which the help of dynmesh %s does not have", m.Name, endpoint.Path, command)
				}
			}
		}
	}
}
