package check_test

import (
	"fmt"
	"maps"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds are the types that the resources are read with, strictly: a member that
// a type does not have is an error.
func kinds() map[string]func() any {
	return map[string]func() any{
		"ConfigMap":               func() any { return new(corev1.ConfigMap) },
		"ServiceAccount":          func() any { return new(corev1.ServiceAccount) },
		"Service":                 func() any { return new(corev1.Service) },
		"Deployment":              func() any { return new(appsv1.Deployment) },
		"PodDisruptionBudget":     func() any { return new(policyv1.PodDisruptionBudget) },
		"HorizontalPodAutoscaler": func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
		"NetworkPolicy":           func() any { return new(networkingv1.NetworkPolicy) },
		"ServiceMonitor":          func() any { return new(monitoring.ServiceMonitor) },
	}
}

// kustomized builds deploy/kubernetes and returns its resources by kind and name.
func kustomized(t *testing.T) map[string]any {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		make, there := kinds()[r.GetKind()]
		if !there {
			t.Fatalf("%s %s is of no kind that is checked", r.GetKind(), r.GetName())
		}
		into := make()
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Errorf("%s %s: %v", r.GetKind(), r.GetName(), err)
		}
		all[r.GetKind()+"/"+r.GetName()] = into
	}
	return all
}

// TestKubernetesShape holds that what refers to something refers to something
// that is there, and that no container may do more than it needs.
func TestKubernetesShape(t *testing.T) {
	t.Parallel()
	all := kustomized(t)
	for _, role := range []string{"api", "worker"} {
		d := deployment(t, all, role)
		labels := d.Spec.Template.Labels
		pdb, _ := all["PodDisruptionBudget/patchlane-"+role].(*policyv1.PodDisruptionBudget)
		if pdb == nil || !matches(pdb.Spec.Selector.MatchLabels, labels) {
			t.Errorf("%s has no disruption budget of its own", role)
		}
		service, _ := all["Service/patchlane-"+role].(*corev1.Service)
		if service == nil || !matches(service.Spec.Selector, labels) {
			t.Fatalf("%s has no service of its own", role)
		}
		for _, port := range service.Spec.Ports {
			if !hasPort(d, port.TargetPort) {
				t.Errorf("the service of %s sends to %s, which no container has", role, port.TargetPort.String())
			}
		}
		scaler, _ := all["HorizontalPodAutoscaler/patchlane-"+role].(*autoscalingv2.HorizontalPodAutoscaler)
		if scaler == nil || scaler.Spec.ScaleTargetRef.Name != d.Name {
			t.Errorf("%s has no autoscaler of its own", role)
		}
		pod := d.Spec.Template.Spec
		if !*pod.SecurityContext.RunAsNonRoot || *pod.AutomountServiceAccountToken {
			t.Errorf("%s may run as root, or talk to the cluster", role)
		}
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			s := c.SecurityContext
			if !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || s.Capabilities.Drop[0] != "ALL" || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("container %s of %s may do more than it needs", c.Name, role)
			}
		}
		if grace := *pod.TerminationGracePeriodSeconds; grace < 120 {
			t.Errorf("%s has %d s to stop", role, grace)
		}
	}
}

// TestKubernetesRuns starts the containers of both roles as the deployments say,
// with every probe.
func TestKubernetesRuns(t *testing.T) {
	t.Parallel()
	all := kustomized(t)
	file, database := binary(), postgres(t)
	queue := redis(t, "--requirepass", password, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
	config, _ := all["ConfigMap/patchlane"].(*corev1.ConfigMap)
	env := map[string]string{"PATCHLANE_OPS_TOKEN": password}
	maps.Copy(env, config.Data)
	pointTo(t, env, database, queue)
	for _, role := range []string{"api", "worker"} {
		pod := deployment(t, all, role).Spec.Template.Spec
		for _, c := range pod.InitContainers {
			process{args: c.Args, env: env}.once(t, file)
		}
		c := pod.Containers[0]
		p := process{args: c.Args, env: env}
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if probe.HTTPGet.Port.StrVal != "ops" {
				t.Errorf("a probe of %s asks port %s", role, probe.HTTPGet.Port.String())
			}
			p.health = append(p.health, probe.HTTPGet.Path)
		}
		for _, port := range c.Ports {
			name := map[string]string{"ops": "PATCHLANE_OPS_LISTEN", "http": "PATCHLANE_LISTEN"}[port.Name]
			if env[name] != fmt.Sprintf(":%d", port.ContainerPort) {
				t.Errorf("port %s of %s is %d, and %s=%s", port.Name, role, port.ContainerPort, name, env[name])
			}
		}
		p.serve(t, file)
	}
}

func deployment(t *testing.T, all map[string]any, role string) *appsv1.Deployment {
	t.Helper()
	d, there := all["Deployment/patchlane-"+role].(*appsv1.Deployment)
	if !there {
		t.Fatalf("there is no deployment of %s", role)
	}
	return d
}

func matches(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

func hasPort(d *appsv1.Deployment, port intstr.IntOrString) bool {
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				return true
			}
		}
	}
	return false
}
