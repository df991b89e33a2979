//! A target and an owner, as the tests of this room use them.

use serde_json::{Value, json};

pub use crate::rollout::testing::{canary, merged};

/// The owner reference that generated objects of [`canary`] carry.
pub fn owner() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "frontend",
        "uid": "11111111-2222-3333-4444-555555555555", "controller": true, "blockOwnerDeletion": true,
    })
}

/// The Deployment `frontend.default` as an API server gives it.
pub fn target() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "frontend",
            "namespace": "default",
            "uid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            "resourceVersion": "100",
            "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "frontend", "team": "shop", "app.kubernetes.io/instance": "frontend"},
            "annotations": {
                "owner": "shop@example.com",
                "deployment.kubernetes.io/revision": "3",
                "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:default/frontend",
            },
            "managedFields": [],
        },
        "spec": {
            "replicas": 2,
            "paused": true,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "frontend"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "aFieldOfTomorrow": {"kept": true},
            "template": {
                "metadata": {
                    "creationTimestamp": null,
                    "labels": {"app": "frontend", "version": "v1"},
                    "annotations": {"prometheus.io/scrape": "true", "kustomize.toolkit.fluxcd.io/checksum": "x"},
                },
                "spec": {
                    "initContainers": [{
                        "name": "migrate",
                        "image": "migrate:1",
                        "envFrom": [{"secretRef": {"name": "database"}}],
                    }],
                    "containers": [{
                        "name": "app",
                        "image": "frontend:1",
                        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                        "resources": {},
                        "env": [
                            {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "colours", "key": "main"}}},
                            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
                            {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "extra", "key": "x", "optional": true}}},
                        ],
                        "envFrom": [{"configMapRef": {"name": "settings"}}],
                    }],
                    "imagePullSecrets": [{"name": "registry"}],
                    "volumes": [
                        {"name": "files", "configMap": {"name": "settings", "defaultMode": 420}},
                        {"name": "key", "secret": {"secretName": "signing", "defaultMode": 420, "optional": true}},
                        {"name": "both", "projected": {"sources": [
                            {"configMap": {"name": "colours"}},
                            {"secret": {"name": "signing", "optional": true}},
                        ]}},
                        {"name": "scratch", "emptyDir": {}},
                    ],
                    "affinity": {
                        "podAntiAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": [{
                                "labelSelector": {"matchLabels": {"app": "frontend"}},
                                "topologyKey": "kubernetes.io/hostname",
                            }],
                            "preferredDuringSchedulingIgnoredDuringExecution": [{
                                "weight": 100,
                                "podAffinityTerm": {
                                    "labelSelector": {
                                        "matchExpressions": [{"key": "app", "operator": "In", "values": ["backend", "frontend"]}],
                                    },
                                    "topologyKey": "topology.kubernetes.io/zone",
                                },
                            }],
                        },
                        "podAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": [{
                                "labelSelector": {"matchLabels": {"app": "cache"}},
                                "topologyKey": "kubernetes.io/hostname",
                            }],
                        },
                    },
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app": "frontend"}},
                    }],
                },
            },
        },
        "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
    })
}
