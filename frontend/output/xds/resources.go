package xds

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	percentv3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynmesh/dynmesh/frontend/output"
)

// Names that Envoys use.
const (
	// EnvoyRoutes is the route configuration that leads to every cluster.
	EnvoyRoutes = "dynmesh"
	// EnvoyListener is the listener, at 0.0.0.0:10000, of Envoys that take listeners from here.
	EnvoyListener = "dynmesh"
	// ClusterHeader is the request's header that names its cluster.
	ClusterHeader = "x-dynmesh-cluster"

	envoyListenerPort = 10000
)

const (
	connectTimeout = time.Second

	// perTryIdle is how long Envoy waits for a byte before it tries another replica. A first token
	// may take seconds behind a long prompt.
	perTryIdle = 30 * time.Second

	// idleTimeout ends a connection before an engine does, which is often after 5 s: a request that is
	// sent meanwhile is lost.
	idleTimeout = 4 * time.Second

	// manyRequests replaces Envoy's limit of 1,024 requests a cluster: a stream counts as long as it
	// lasts.
	manyRequests = 1 << 20
)

// usable returns where a server takes requests, or why no proxy can be sent there. Envoy rejects a
// whole assignment for one address that is none of IP and port.
func usable(s *output.Server) (netip.AddrPort, error) {
	if s.Scheme != "http" {
		return netip.AddrPort{}, fmt.Errorf("its transport is %q: xDS tells of http alone", s.Scheme)
	}
	at, err := netip.ParseAddrPort(s.Addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("its address is %q: xDS tells of IP addresses with a port alone", s.Addr)
	}
	return at, nil
}

// servesHTTP says whether any of a target's servers does. Others are none of xDS' business.
func servesHTTP(t *output.Target) bool {
	return slices.ContainsFunc(t.Servers, func(s output.Server) bool { return s.Scheme == "http" })
}

// client is a kind of client. Each rejects some of what the other needs.
type client uint8

const (
	forEnvoy client = iota
	forGRPC
)

// clientOf tells the kind by the node's user agent: "envoy"; "gRPC Go", "gRPC C-core linux".
func clientOf(n *corev3.Node) client {
	if strings.HasPrefix(n.GetUserAgentName(), "gRPC") {
		return forGRPC
	}
	return forEnvoy
}

// assignment is a cluster's EDS resource. An address stands there once, or gRPC would reject all of
// it: the policy sees to that.
func assignment(t *output.Target, to client) *endpointv3.ClusterLoadAssignment {
	a := &endpointv3.ClusterLoadAssignment{ClusterName: t.Name}
	locality := &endpointv3.LocalityLbEndpoints{
		// gRPC wants a locality to have a name and a weight.
		Locality:            &corev3.Locality{Zone: "dynmesh"},
		LoadBalancingWeight: wrapperspb.UInt32(1),
	}
	for i := range t.Servers {
		at, err := usable(&t.Servers[i])
		if err != nil {
			continue
		}
		e := &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: socket(at.Addr().String(), uint32(at.Port())),
		}}}
		e.HealthStatus, e.LoadBalancingWeight = health(t.Servers[i].State, to)
		locality.LbEndpoints = append(locality.LbEndpoints, e)
	}
	if len(locality.LbEndpoints) > 0 {
		a.Endpoints = []*endpointv3.LocalityLbEndpoints{locality}
	}
	return a
}

// health is what a kind of client calls a state:
//
//	state    | Envoy                                          | gRPC
//	-------- | ---------------------------------------------- | --------------------------------
//	in       | HEALTHY                                        | HEALTHY
//	degraded | DEGRADED: gets what the healthy do not suffice | HEALTHY, with half of the weight:
//	         | for, 30 % where it is one of two               | DEGRADED would be out
//	draining | DRAINING                                       | DRAINING
//	out      | UNHEALTHY                                      | UNHEALTHY
//
// Envoy gets no weights: where all are alike it chooses the less loaded of two.
func health(s output.State, to client) (corev3.HealthStatus, *wrapperspb.UInt32Value) {
	var weight *wrapperspb.UInt32Value
	if to == forGRPC && s.Serves() {
		weight = wrapperspb.UInt32(uint32(s.Weight()))
	}
	switch {
	case s == output.Degraded && to == forEnvoy:
		return corev3.HealthStatus_DEGRADED, nil
	case s.Serves():
		return corev3.HealthStatus_HEALTHY, weight
	case s == output.Draining:
		return corev3.HealthStatus_DRAINING, nil
	}
	return corev3.HealthStatus_UNHEALTHY, nil
}

func socket(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

// cluster leads to an assignment. dynmesh alone decides who is withdrawn, and keeps a floor: below
// half, Envoy would send requests to all, the withdrawn ones as well, so its panic threshold is 0.
// Its own ejections end after 30 s at most.
func cluster(name string, to client) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: name},
		LbPolicy:             clusterv3.Cluster_ROUND_ROBIN,
		CircuitBreakers:      unlimited(),
	}
	if to == forGRPC {
		return c
	}
	c.ConnectTimeout = durationpb.New(connectTimeout)
	c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &percentv3.Percent{Value: 0}}
	c.OutlierDetection = &clusterv3.OutlierDetection{
		Consecutive_5Xx:    wrapperspb.UInt32(3),
		BaseEjectionTime:   durationpb.New(5 * time.Second),
		MaxEjectionTime:    durationpb.New(30 * time.Second),
		MaxEjectionPercent: wrapperspb.UInt32(50),
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed(&httpv3.HttpProtocolOptions{
			CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(idleTimeout)},
			UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}},
			}},
		}),
	}
	return c
}

func unlimited() *clusterv3.CircuitBreakers {
	n := wrapperspb.UInt32(manyRequests)
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
		{MaxConnections: n, MaxPendingRequests: n, MaxRequests: n, MaxRetries: wrapperspb.UInt32(1024)},
	}}
}

// grpcRoutes leads a gRPC client's calls to the cluster that its target names.
func grpcRoutes(name string) *routev3.RouteConfiguration {
	retry := &routev3.RetryPolicy{RetryOn: "unavailable", NumRetries: wrapperspb.UInt32(2)}
	return &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
		Name: name, Domains: []string{"*"},
		Routes: []*routev3.Route{{Match: anyPath(), Action: route(name, retry)}},
	}}}
}

// grpcListener is what a target of xds:///name leads to.
func grpcListener(name string) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:        name,
		ApiListener: &listenerv3.ApiListener{ApiListener: packed(manager(name))},
	}
}

// envoyRoutes leads a request to the cluster that its header names, and any other to a 404.
func envoyRoutes(names []string) *routev3.RouteConfiguration {
	previous := &routev3.RetryPolicy_RetryHostPredicate{
		Name:       "envoy.retry_host_predicates.previous_hosts",
		ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: packed(&previousv3.PreviousHostsPredicate{})},
	}
	retry := &routev3.RetryPolicy{
		// Envoy tries again only as long as the client has got nothing.
		RetryOn:                       "5xx,reset",
		NumRetries:                    wrapperspb.UInt32(2),
		PerTryIdleTimeout:             durationpb.New(perTryIdle),
		RetryHostPredicate:            []*routev3.RetryPolicy_RetryHostPredicate{previous},
		HostSelectionRetryMaxAttempts: 5,
	}
	host := &routev3.VirtualHost{Name: EnvoyRoutes, Domains: []string{"*"}, RetryPolicy: retry}
	for _, name := range names {
		match := anyPath()
		match.Headers = []*routev3.HeaderMatcher{{Name: ClusterHeader, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
			StringMatch: &typev3.StringMatcher{MatchPattern: &typev3.StringMatcher_Exact{Exact: name}},
		}}}
		host.Routes = append(host.Routes, &routev3.Route{Match: match, Action: route(name, nil)})
	}
	host.Routes = append(host.Routes, &routev3.Route{Match: anyPath(), Action: &routev3.Route_DirectResponse{
		DirectResponse: &routev3.DirectResponseAction{Status: 404, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{
			InlineString: "no such cluster: the header " + ClusterHeader + " names one, such as dyn://namespace.component.endpoint or model/NAME\n",
		}}},
	}})
	return &routev3.RouteConfiguration{Name: EnvoyRoutes, VirtualHosts: []*routev3.VirtualHost{host}}
}

// envoyListener listens for an Envoy that has no listener of its own.
func envoyListener() *listenerv3.Listener {
	m := manager(EnvoyRoutes)
	m.StatPrefix = EnvoyListener
	return &listenerv3.Listener{
		Name:    EnvoyListener,
		Address: socket("0.0.0.0", envoyListenerPort),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.http_connection_manager", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(m)},
		}}}},
	}
}

func manager(routes string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads(), RouteConfigName: routes}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(&routerv3.Router{})},
		}},
	}
}

func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

// route leads to a cluster, with no limit to how long an answer may take.
func route(name string, retry *routev3.RetryPolicy) *routev3.Route_Route {
	return &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
		Timeout:          durationpb.New(0),
		RetryPolicy:      retry,
	}}
}

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // unreachable: messages made here always marshal
	}
	return a
}
