// Package check holds what is deployed to what it says: the files of Docker
// Compose, Kubernetes and systemd are read with the types of those programs, and
// their commands, environments, ports and health checks are tried with the real
// binary on local servers. It has tests alone, and is a module of its own, so
// that those types are no dependency of the product.
//
//	compose_test.go     docker-compose.yml
//	kubernetes_test.go  kubernetes/
//	systemd_test.go     systemd/
//	stack_test.go       the binary and the servers
package check
